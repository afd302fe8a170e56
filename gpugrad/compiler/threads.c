/* Threads that share the parts of a loop, see threads.py.

   One loop at a time: a thread that comes while another one's loop is shared runs its own alone. Of
   the helpers, which wait in between, as many take part as come before all parts are taken. */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

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
enum { SPINS = 300, MOST = 255, ALIGNMENT = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below that is not atomic */
static pthread_cond_t begun = PTHREAD_COND_INITIALIZER, ended = PTHREAD_COND_INITIALIZER;
static atomic_flag busy = ATOMIC_FLAG_INIT;
static atomic_int limit = 1;   /* threads, with the one that comes */
static atomic_ulong loops = 0; /* that were shared, with the present one */
static atomic_long next = 0;   /* part that nobody has taken */
static int made = 0, wanted = 0, inside = 0; /* helpers: all, those of this loop, those in it now */
static part_t run = NULL;
static void *const *given = NULL;
static long parts = 0;
static size_t bytes = 0;
static unsigned mode = 0;

static void run_parts(part_t own_run, void *const *arrays, char *work, long count)
{
    for (;;) {
        const long part = atomic_fetch_add(&next, 1);
        if (part >= count) return;
        own_run(arrays, work, part);
    }
}

static void *help(void *argument)
{
    const int number = (int)(size_t)argument;
    unsigned long seen = 0;
    char *memory = NULL, *work = NULL;
    size_t size = 0;
    for (;;) {
        for (int i = 0; i < SPINS && atomic_load(&loops) == seen; i++) PAUSE;
        pthread_mutex_lock(&lock);
        while (!wanted || atomic_load(&loops) == seen) pthread_cond_wait(&begun, &lock);
        seen = atomic_load(&loops);
        const int mine = number < wanted;
        const part_t own_run = run;
        void *const *arrays = given;
        const long count = parts;
        const size_t needed = bytes + ALIGNMENT;
        const unsigned own_mode = mode;
        inside += mine;
        pthread_mutex_unlock(&lock);
        if (!mine) continue;
        if (size < needed) {
            free(memory);
            memory = malloc(needed);
            size = memory ? needed : 0;
            work = memory + (ALIGNMENT - (size_t)memory % ALIGNMENT);
        }
        SET_MODE(own_mode);
        if (memory) run_parts(own_run, arrays, work, count);
        pthread_mutex_lock(&lock);
        if (!--inside) pthread_cond_signal(&ended);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

/* The child of a fork has none of the helpers. */
static void forget(void)
{
    pthread_mutex_init(&lock, NULL);
    pthread_cond_init(&begun, NULL);
    pthread_cond_init(&ended, NULL);
    made = wanted = inside = 0;
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
        if (pthread_create(&thread, NULL, help, (void *)(size_t)made)) break;
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
    pthread_mutex_lock(&lock);
    run = task, given = arrays, parts = count, bytes = (size_t)size, mode = MODE, wanted = others;
    atomic_store(&next, 0);
    atomic_fetch_add(&loops, 1);
    pthread_cond_broadcast(&begun);
    pthread_mutex_unlock(&lock);
    run_parts(task, arrays, work, count);
    pthread_mutex_lock(&lock);
    wanted = 0;
    while (inside) pthread_cond_wait(&ended, &lock);
    pthread_mutex_unlock(&lock);
    atomic_flag_clear(&busy);
}
