/* The protocol of objects, jobs and results, for the model checker SPIN: one file, sent by two senders at once.

Every transition names the code that it stands for, with a fragment of it; tests/test_model.py looks for both.
A transaction of PostgreSQL is atomic, and so is a statement. Anything else may be interrupted, repeated or stopped for
any time, and every process may die between two steps. Leases expire at any time: the result holds for all clocks.

A switch (-DNO_LOCK ...) removes one part; model/check.py runs them all and expects the fault that it leads to.
*/

#define MAX_ATTEMPTS 2
#define CLAIMS 6 /* fencing tokens: two rounds of MAX_ATTEMPTS, and one claim that is released */

#ifndef SKEW
#define SKEW 0 /* how much the clocks of a worker and of the database differ, if the protocol trusts them */
#endif
#define LEASE 1

mtype:object = { NONE, PUBLISHED, DURABLE };
mtype:job = { ABSENT, QUEUED, RUNNING, FINISHED, QUARANTINED };

/* The object store */
mtype:object object = NONE;
byte inode; /* the sender whose file is the object */
bool preview[CLAIMS]; /* by the fencing token in the key */

/* PostgreSQL */
bool recorded; /* the instance's row */
mtype:job job = ABSENT;
byte attempts, token;
bool rerun; /* the job is queued again when it ends */
byte results, result_key; /* how many are current; the key of the last one's preview */
bool stale; /* the last result is not of the latest claim */
byte shared; bool exclusive; /* the advisory lock of a hash */
bool uid_locked;

bool acknowledged; /* to at least one sender */
bool wake_up; /* a message in the broker */

/* Clocks: ticks that are left; used by the variants that trust them */
byte lease_left;
byte believed_left[2];

#ifdef NO_TOKEN
#define HELD (job == RUNNING)
#define KEY 0
#elif defined(CLOCK_FOR_TOKEN)
#define HELD (job == RUNNING && believed_left[number] > 0)
#define KEY mine
#elif defined(NO_COMPARE)
#define HELD (job != ABSENT)
#define KEY mine
#else
#define HELD (job == RUNNING && token == mine)
#define KEY mine
#endif

#ifdef NO_COMPARE
#define SUPERSEDES false /* it would hide the second one */
#else
#define SUPERSEDES (mine > 1)
#endif

#define DIES(label) if :: skip :: goto label fi

/* ---- What must hold ---- */

active proctype Promise() {
end:
    if
    :: atomic { results > 1 -> printf("FAULT: two results\n"); assert(results <= 1) }
#ifndef NO_COMPARE /* where these would be the first to fail */
    :: atomic { stale -> printf("FAULT: the result is not of the latest claim\n"); assert(!stale) }
    :: atomic { results > 0 && !preview[result_key] ->
        printf("FAULT: the preview of a result was deleted\n"); assert(preview[result_key]) }
#endif
    :: atomic { recorded && object == NONE ->
        printf("FAULT: the object of an acknowledged instance was deleted\n"); assert(object != NONE) }
    :: atomic { recorded && object == PUBLISHED ->
        printf("FAULT: an instance was acknowledged before its object was durable\n"); assert(object == DURABLE) }
    fi
}

#ifdef LIVENESS
ltl ends { [] (acknowledged -> <> (job == FINISHED || job == QUARANTINED)) }
#endif

/* ---- Receiving ---- */

inline sync() {
    /* code: archive/object_store.py FileStore.sync: file.sync() */
    atomic {
        if
        :: object == PUBLISHED && inode == number -> object = DURABLE; printf("sender %d syncs its file\n", number)
        :: else
        fi
    }
}

inline unlock() { shared--; uid_locked = false }

/* code: ingest/store.py publish_and_record: objects.publish(file, key) */
proctype Sender(byte number) {
send:
    /* code: archive/object_store.py FileStore.publish: os.link(file.path, self._prepare_folder(key)) */
    /* code: archive/object_store.py FileStore.put: file.rename(target_path) */
    atomic {
        if
        :: object == NONE -> object = PUBLISHED
        :: else -> object = DURABLE /* synced before it replaces the other */
        fi;
        inode = number;
        printf("sender %d publishes its file\n", number)
    }
record:
    DIES(send);
    /* code: ingest/store.py publish_and_record: with overlap(lambda: objects.sync({key: file})): */
    if /* before the statement has its locks, or after it was executed */
    :: skip
    :: sync()
    fi;
    /* code: archive/garbage.py LOCK_SHARED: pg_advisory_xact_lock_shared(hashtextextended(%s, 7)) */
    atomic { !exclusive -> shared++ };
    /* code: ingest/store.py EXECUTE: pg_advisory_xact_lock(hashtextextended(%(sop_instance_uid)s, 5)) */
    atomic { !uid_locked -> uid_locked = true };
    sync();
    /* code: ingest/store.py publish_and_record: if not objects.confirm(file, key): */
    if
    :: atomic { object == NONE -> unlock(); printf("sender %d: the object is gone\n", number); goto send }
    :: atomic { object != NONE ->
#ifndef SYNC_OWN_FILE
        /* code: archive/object_store.py FileStore.confirm: sync_path(self.folder / key) */
        object = DURABLE;
#endif
        printf("sender %d finds the object\n", number) }
    fi;
    if /* the connection is lost: rolled back; the file is sent again, or only the statement is repeated */
    :: skip
    :: atomic { unlock(); goto send }
    :: atomic { unlock(); goto record }
    fi;
    /* code: ingest/store.py publish_and_record: cursor.execute("COMMIT") */
    atomic {
        if
        /* code: ingest/store.py RECORD: NOT EXISTS (SELECT FROM known WHERE sha256 = %(sha256)s) */
        :: recorded
        :: else ->
            /* code: ingest/store.py RECORD: 'queued', 0, 0, '', '', %(correlation_id)s */
            recorded = true; job = QUEUED
        fi;
        unlock();
        printf("sender %d commits\n", number)
    };
    DIES(send);
    acknowledged = true;
    /* code: ingest/store.py _store: wake(choose_queue(header.decoded_size)) */
    if
    :: wake_up = true
    :: skip /* lost */
    fi
}

/* ---- Working ---- */

proctype Worker(byte number) {
    byte mine;
end_idle:
    /* code: jobs/tasks.py run_queue: run_batch(queue, until) */
    atomic {
        wake_up -> wake_up = false;
        /* code: jobs/queue.py CLAIM: state = 'queued' AND queue = %(queue)s AND next_run_at <= now() */
        if
        :: job == QUEUED ->
            /* code: jobs/queue.py CLAIM: SET state = 'running', fencing_token = fencing_token + 1, attempts = attempts + 1 */
            job = RUNNING; token++; attempts++; rerun = false;
            mine = token;
            lease_left = LEASE; believed_left[number] = LEASE + SKEW;
            printf("worker %d claims, token %d\n", number, mine)
        :: else -> goto end_idle
        fi
    };
    if
    :: atomic { true -> printf("worker %d dies\n", number); mine = 0; goto end_idle }
    :: atomic { /* at most once: the first job of a batch is always started */
        /* code: jobs/tasks.py run_batch: release(leases[number:]) */
        mine == 1 ->
        if
        /* code: jobs/queue.py release: SET state = 'queued', attempts = attempts - 1 */
        /* code: jobs/queue.py postpone: SET state = 'queued', attempts = attempts - 1 */
        :: HELD -> job = QUEUED; attempts--; printf("worker %d releases\n", number)
        :: else
        fi;
        mine = 0; goto end_idle }
    :: atomic {
        true ->
        if
        :: HELD ->
            if
            /* code: jobs/queue.py fail: retryable and lease.attempts < max_attempts(lease.kind) */
            :: attempts < MAX_ATTEMPTS -> job = QUEUED
            /* code: jobs/queue.py fail: state = CASE WHEN %s OR rerun_at IS NOT NULL THEN 'queued' ELSE 'quarantined' END */
            :: !rerun -> job = QUARANTINED
            :: rerun -> job = QUEUED
            fi;
            if :: rerun -> attempts = 0; rerun = false :: else fi;
            printf("worker %d fails\n", number)
        :: else
        fi;
        mine = 0; goto end_idle }
    :: skip
    fi;
    /* code: analysis/handler.py publish_preview: store().publish(file, key) */
    /* code: analysis/targets.py store_files: store().put(file.path, key) */
    atomic { preview[KEY] = true; printf("worker %d stores its preview\n", number) };
    if
    :: atomic { true -> printf("worker %d dies\n", number); mine = 0; goto end_idle }
    :: skip
    fi;
    /* code: jobs/tasks.py save_results: finished = finish([lease for lease, _ in results]) */
    if
    /* code: jobs/queue.py finish: AND state = 'running' AND fencing_token = held.token RETURNING job.id */
    :: atomic { HELD ->
        /* code: jobs/queue.py finish: state = CASE WHEN rerun_at IS NULL THEN 'done' ELSE 'queued' END */
        if
        :: rerun -> job = QUEUED; attempts = 0; rerun = false
        :: else -> job = FINISHED
        fi;
        /* code: analysis/handler.py AnalysisHandler.save: store().sync( */
        /* code: analysis/handler.py AnalysisHandler.save: update(superseded=True) */
        if :: SUPERSEDES -> results = 0 :: else fi;
        /* code: analysis/handler.py SAVE: INSERT INTO analysis_result */
        results++; stale = (mine != token); result_key = KEY;
        printf("worker %d finishes with token %d\n", number, mine);
        mine = 0; goto end_idle }
    :: atomic { !HELD -> printf("worker %d is too late with token %d\n", number, mine) }
    fi;
    /* code: analysis/handler.py AnalysisHandler.discard: store().delete(result.preview) */
    /* code: analysis/targets.py TargetHandler.discard: store().delete(file["key"]) */
    atomic { preview[KEY] = false; mine = 0 };
    goto end_idle
}

/* ---- The background loops, each of which may run twice ---- */

#ifdef CLOCK_FOR_TOKEN
#define EXPIRED (lease_left == 0)
#else
#define EXPIRED true
#endif

proctype Reaper() {
end:
    do
    /* code: jobs/queue.py requeue_expired: WHERE state = 'running' AND lease_until < now() */
    :: atomic { job == RUNNING && EXPIRED ->
        if
        /* code: jobs/queue.py requeue_expired: THEN 'queued' ELSE 'quarantined' END */
        :: attempts < MAX_ATTEMPTS -> job = QUEUED
        :: else -> job = QUARANTINED
        fi;
        printf("the reaper ends the lease of token %d\n", token) }
    od
}

proctype Dispatcher() {
end:
    do
    /* code: jobs/queue.py find_due_queues: state = 'queued' AND queue = name AND next_run_at <= now() */
    /* code: jobs/dispatcher.py dispatch: wake(queue) */
    :: atomic { job == QUEUED && !wake_up -> wake_up = true }
    od
}

proctype Collector() {
end:
    do
    /* code: archive/garbage.py collect_orphans: orphans = set(hashes) - find_referenced(hashes) */
    :: object != NONE && !recorded ->
#ifndef NO_LOCK
        /* code: archive/garbage.py delete_if_unreferenced: cursor.execute(LOCK_EXCLUSIVE, (sha256,)) */
        atomic { shared == 0 && !exclusive -> exclusive = true };
#endif
        if
        /* code: archive/garbage.py delete_if_unreferenced: if find_referenced([sha256]): */
        :: recorded
        :: atomic { !recorded -> printf("the collector finds no row\n") };
            /* code: archive/garbage.py delete_if_unreferenced: store().delete(object_key(sha256)) */
            atomic { object = NONE; printf("the collector deletes the object\n") }
        fi;
        exclusive = false
    od
}

proctype PreviewCollector() {
    byte key;
    bool running;
end:
    do
    :: atomic { select(key : 0 .. CLAIMS - 1);
        if
        /* code: analysis/garbage.py PREVIEWS: FROM analysis_job WHERE state = 'running' */
#ifdef PREVIEWS_BY_AGE
        :: preview[key] -> running = false /* old, by some clock */
#else
        :: preview[key] -> running = (job == RUNNING && token == key)
#endif
        :: else -> running = true
        fi };
        if
        /* code: analysis/garbage.py PREVIEWS: FROM analysis_result WHERE instance_id = ANY */
        :: atomic { running || (results > 0 && result_key == key) -> key = 0; running = false }
        :: atomic { !running && !(results > 0 && result_key == key) ->
            printf("the collector finds neither a job nor a result of token %d\n", key) };
            /* code: analysis/garbage.py collect: store().delete(key) */
            atomic { preview[key] = false; printf("the collector deletes the preview of token %d\n", key); key = 0 }
        fi
    od
}

proctype Person() {
end:
    /* code: jobs/queue.py _decide: UPDATE jobs_job SET {change} */
    atomic {
        if
        /* code: jobs/queue.py requeue: state = 'queued', attempts = 0, next_run_at = now() */
        :: job == QUARANTINED -> job = QUEUED; attempts = 0; printf("a person requeues\n")
        /* code: jobs/queue.py quarantine: state = 'quarantined' */
        :: job == QUEUED -> job = QUARANTINED; printf("a person quarantines\n")
        fi
    }
}

/* Once: new images, or a new version of the analysis */
proctype Scheduler() {
end:
    atomic {
        if
        /* code: jobs/queue.py SCHEDULE: state = CASE job.state WHEN 'running' THEN 'running' ELSE 'queued' END */
        :: job == RUNNING -> rerun = true
        :: job != RUNNING && job != ABSENT -> job = QUEUED; attempts = 0
        fi;
        printf("the job is scheduled again\n")
    }
}

proctype Clock() {
end:
    do
    :: atomic { true ->
        if :: lease_left > 0 -> lease_left-- :: else fi;
        if :: believed_left[0] > 0 -> believed_left[0]-- :: else fi;
        if :: believed_left[1] > 0 -> believed_left[1]-- :: else fi }
    od
}

/* The two halves meet in one transition only, the commit that queues the job; each is checked with all its actors. */
init {
    atomic {
        run Sender(0);
#ifdef RECEIVING
        run Sender(1); run Sender(2);
        run Collector();
#else
        run Worker(0); run Worker(1);
#ifdef RERUN
        run Scheduler();
#else
        run Person();
#endif
        run PreviewCollector();
#ifndef NO_REAPER
        run Reaper();
#endif
#ifndef NO_DISPATCHER
        run Dispatcher();
#endif
#ifdef CLOCK_FOR_TOKEN
        run Clock();
#endif
#endif
    }
}
