# A newcomer needs `make demo` and `make test`; both create the virtual environment .venv on the first run.
SECTIONS := $(patsubst %/main.py,%,$(sort $(wildcard section[1-9]_*/main.py)))
SECTION  ?= $(SECTIONS) tools
PYTHON   ?= python3
VENV     ?= .venv
# VENV=none uses the Python on the PATH as it is.
BIN      := $(if $(filter none,$(VENV)),,$(CURDIR)/$(VENV)/bin/)

# The tests start hundreds of programs: each would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test coverage lint bench lock environment clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile
	@echo "  For one section: make test SECTION=section1_files"

environment:
	@if [ -n "$(BIN)" ]; then PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock; fi

demo: environment ## run the main.py of each section on its sample data
	@for section in $(filter $(SECTIONS),$(SECTION)); do \
	    printf '\n======== %s ========\n\n' "$$section"; \
	    case $$section in section[45]*) once=--once ;; *) once= ;; esac; \
	    $(BIN)python $$section/main.py $$once || { echo "make demo: $$section failed, see above" >&2; exit 1; }; \
	done

test: environment ## run the tests of each section and of the repository
	@for section in $(SECTION); do \
	    printf '\n-------- tests of %s --------\n' "$$section"; \
	    case $$section in \
	        section5*) parallel="-n 4 --dist loadfile --no-loadscope-reorder" ;; \
	        section4*) parallel="-n 3 --dist loadfile" ;; \
	        section1* | tools) parallel="-n 3" ;; \
	        *) parallel= ;; \
	    esac; \
	    (cd $$section && $(BIN)python -m pytest $$parallel) || exit 1; \
	done

coverage: environment ## run the tests of sections 1 to 3 with coverage, which has a floor
	@for section in $(filter section1_% section2_% section3_%,$(SECTION)); do \
	    printf '\n-------- coverage of %s --------\n' "$$section"; \
	    (cd $$section && $(BIN)coverage run --rcfile ../pyproject.toml -m pytest && \
	        $(BIN)coverage report --rcfile ../pyproject.toml) || exit 1; \
	done

lint: environment ## check format, style, types, spelling, imports and workflows
	@sh tools/lint.sh $(SECTIONS)

bench: ## compare the speed with named alternatives (takes minutes)
	@PYTHON="$(PYTHON)" sh tools/environment.sh requirements.lock requirements-bench.lock
	@for section in $(SECTION); do \
	    [ -f $$section/benchmarks/run.py ] || continue; \
	    printf '\n-------- benchmarks of %s --------\n' "$$section"; \
	    (cd $$section && $(BIN)python benchmarks/run.py) || exit 1; \
	done

lock: ## resolve and pin all dependencies, with hashes
	@sh tools/lock.sh

clean: ## remove the environment and caches
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache */.pytest_cache */.hypothesis */.coverage
