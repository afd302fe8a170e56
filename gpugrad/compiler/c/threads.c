/* Threads that share the parts of a loop, see threads.py.

   One loop at a time: a thread that comes while another one's loop is shared runs its own alone. Of
   the helpers as many take part as come before all parts are taken. They look for the next loop for
   a while before they sleep, since to wake one takes as long as many loops do; and so does the thread
   that waits for their last parts. */

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

typedef ptrdiff_t index_t;
typedef void (*part_t)(void *const *arrays, char *work, index_t part);

#ifdef __x86_64__
#define MODE __builtin_ia32_stmxcsr()
#define SET_MODE(mode) __builtin_ia32_ldmxcsr(mode)
#define PAUSE __builtin_ia32_pause()
#else
#define MODE 0
#define SET_MODE(mode)
#define PAUSE
#endif
enum { SPINS = 64, LOOK = 50000, TAKEN = 10000 }; /* the last two in ns */
enum { MOST = 255, ALIGNMENT = 64 };
enum { OPEN = 1, ONE = 2 }; /* of the gate: whether helpers may come in, and one that has */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what sleeps */
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static atomic_int limit = 1;   /* threads, with the one that comes */
static atomic_ulong loops = 0; /* that were shared, with the present one */
static atomic_ulong gate = 0;  /* of the present loop; nobody writes what follows while one is in it */
static atomic_ulong wanted = 0; /* helpers */
static atomic_int asleep = 0;   /* helpers */
static atomic_long next = 0;    /* part that nobody has taken */
static int made = 0;            /* helpers */
static part_t run = NULL;
static void *const *given = NULL;
static long parts = 0;
static size_t bytes = 0;
static unsigned mode = 0;

static long long now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

/* Look whether a word changes; 0 if it has not for a while. With ``yields`` others may have the
   processor, and 0 if they took it: a thread that then came would have it taken from it in a part. */
static int changes(atomic_ulong *word, unsigned long old, int yields)
{
    const long long start = now();
    long long after;
    do {
        for (int i = 0; i < SPINS; i++) {
            if (atomic_load(word) != old) return 1;
            PAUSE;
        }
        after = now();
        if (!yields) continue;
        sched_yield();
        if (now() - after > TAKEN) break;
    } while (after - start < LOOK);
    return 0;
}

static void run_parts(part_t own_run, void *const *arrays, char *work, long count)
{
    for (;;) {
        const long part = atomic_fetch_add(&next, 1);
        if (part >= count) return;
        own_run(arrays, work, part);
    }
}

/* Sleep until there has been another loop than those that were seen. */
static void sleep_after(unsigned long seen)
{
    pthread_mutex_lock(&lock);
    atomic_fetch_add(&asleep, 1);
    while (atomic_load(&loops) == seen) pthread_cond_wait(&begun, &lock);
    atomic_fetch_sub(&asleep, 1);
    pthread_mutex_unlock(&lock);
}

static int comes_in(void)
{
    unsigned long state = atomic_load(&gate);
    while (state & OPEN && state / ONE < atomic_load(&wanted))
        if (atomic_compare_exchange_weak(&gate, &state, state + ONE)) return 1;
    return 0;
}

static void goes_out(void)
{
    if (atomic_fetch_sub(&gate, ONE) != ONE) return;
    pthread_mutex_lock(&lock);
    pthread_cond_signal(&ended);
    pthread_mutex_unlock(&lock);
}

static void *help(void *argument)
{
    unsigned long seen = 0;
    char *memory = NULL, *work = NULL;
    size_t size = 0;
    for (;;) {
        if (!changes(&loops, seen, 1)) sleep_after(seen);
        seen = atomic_load(&loops);
        if (!comes_in()) continue;
        seen = atomic_load(&loops);
        const size_t needed = bytes + ALIGNMENT;
        if (size < needed) {
            free(memory);
            memory = malloc(needed);
            size = memory ? needed : 0;
            work = memory + (ALIGNMENT - (size_t)memory % ALIGNMENT);
        }
        SET_MODE(mode);
        if (memory) run_parts(run, given, work, parts);
        goes_out();
    }
    return NULL;
}

/* The child of a fork has none of the helpers. */
static void forget(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&begun, NULL);
    pthread_cond_init(&ended, NULL);
    made = 0;
    atomic_store(&asleep, 0);
    atomic_store(&gate, 0);
    atomic_flag_clear(&busy);
}

/* Make helpers until there are enough; signals are for the other threads. */
static int helpers(int count)
{
    static int once = 0;
    sigset_t all, before;
    if (made >= count) return count;
    if (!once) once = !pthread_atfork(NULL, NULL, forget);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (once && made < count) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, help, NULL)) break;
        pthread_detach(thread);
        made++;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return made < count ? made : count;
}

void gpugrad_set_threads(int count)
{
    atomic_store(&limit, count < MOST ? count : MOST);
}

/* Wake so many of the helpers that sleep. */
static void wake(int count)
{
    if (count < 1) return;
    pthread_mutex_lock(&lock);
    for (; count > 0; count--) pthread_cond_signal(&begun);
    pthread_mutex_unlock(&lock);
}

/* Let no more helpers come in, and wait until those that did have gone out. */
static void wait_for_last(void)
{
    unsigned long state = atomic_fetch_and(&gate, ~(unsigned long)OPEN) & ~(unsigned long)OPEN;
    for (; state; state = atomic_load(&gate)) {
        if (changes(&gate, state, 0)) continue;
        pthread_mutex_lock(&lock);
        while (atomic_load(&gate)) pthread_cond_wait(&ended, &lock);
        pthread_mutex_unlock(&lock);
    }
}

/* Run all parts of a loop. A thread works in memory of its own, of so many bytes; the one that comes
   has ``work``. */
void gpugrad_share(part_t task, void *const *arrays, char *work, index_t size, index_t count)
{
    int others = atomic_load(&limit) - 1;
    if (others >= count) others = (int)count - 1;
    if (others < 1 || atomic_flag_test_and_set(&busy)) {
        for (index_t part = 0; part < count; part++) task(arrays, work, part);
        return;
    }
    others = helpers(others);
    run = task, given = arrays, parts = count, bytes = (size_t)size, mode = MODE;
    atomic_store(&wanted, (unsigned long)others);
    atomic_store(&next, 0);
    atomic_store(&gate, OPEN);
    atomic_fetch_add(&loops, 1);
    wake(others - (made - atomic_load(&asleep)));
    run_parts(task, arrays, work, count);
    wait_for_last();
    atomic_flag_clear(&busy);
}
