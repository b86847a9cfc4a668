# `make demo` and `make test` are all a newcomer needs; both make their own environment in .venv.
SECTIONS := $(patsubst %/main.py,%,$(sort $(wildcard section[1-9]_*/main.py)))
SECTION  ?= $(SECTIONS)
PYTHON   ?= python3
BIN      := $(CURDIR)/.venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock environment clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile
	@echo "  One section alone: make test SECTION=section1_files"

environment:
	@PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock

demo: environment ## run every section's main.py on its sample data
	@for section in $(SECTION); do \
	    printf '\n======== %s ========\n\n' "$$section"; \
	    case $$section in section[45]*) once=--once ;; *) once= ;; esac; \
	    $(BIN)/python $$section/main.py $$once || { echo "make demo: $$section failed, see above" >&2; exit 1; }; \
	done

test: environment ## run every section's tests, and the tests of the frame
	@for tests in $(SECTION) $(if $(filter $(SECTIONS),$(SECTION)),tools); do \
	    printf '\n-------- tests of %s --------\n' "$$tests"; \
	    case $$tests in section5*) parallel="-n 3 --dist loadfile" ;; *) parallel= ;; esac; \
	    (cd $$tests && $(BIN)/python -m pytest $$parallel) || exit 1; \
	done

lint: environment ## check format, types, isolation of the sections, workflows
	@sh tools/lint.sh $(SECTIONS)

bench: ## measure speed against the named peers (takes minutes)
	@PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock requirements-bench.lock
	@for section in $(SECTION); do \
	    printf '\n-------- benchmarks of %s --------\n' "$$section"; \
	    (cd $$section && $(BIN)/python benchmarks/run.py) || exit 1; \
	done

lock: ## pin every dependency anew, with hashes
	@sh tools/lock.sh

clean: ## remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache */.pytest_cache */.hypothesis
