// The stand-in for NCCL: collectives between the processes of one machine, through shared memory.
//
// Each process has a slot in a segment that the communicator's identity names. A call goes chunk by
// chunk: all put theirs into their slots, wait for each other, and read what they need; sums are
// taken in the order of the ranks. What NCCL leaves undefined, calls that differ, is an error here.
// A call runs in the order of its stream and holds up the host meanwhile, as NCCL does not.
#include <fcntl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <complex>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>

#include "half.h"
#include "library.h"

using fakecuda::BFloat16;
using fakecuda::check_memory;
using fakecuda::enqueue;
using fakecuda::Half;

namespace {

enum Status { success = 0, system_error = 2, invalid_argument = 4, invalid_usage = 5 };
enum Op { sum = 0, product = 1, maximum = 2, minimum = 3, average = 4 };

constexpr size_t chunk = 1 << 18;  // bytes
constexpr int most = 16;           // processes

// What a process is doing: all must do the same.
struct Call {
    char name[32];
    uint64_t count;
    int type, op, root;
};

struct Segment {
    std::atomic<int> joined, arrived, left;
    std::atomic<uint64_t> generation;
    std::atomic<int> mail[most];  // 1 + the rank that a process's message is for
    Call calls[most];
    alignas(64) char slots[most][chunk];
    alignas(64) char letters[most][chunk];
};

struct Identity {
    char internal[128];
};

struct Communicator {
    Segment *shared;
    int rank, size;
    std::atomic<bool> aborted{false};

    // Waits until something holds; an error where the communicator is aborted meanwhile.
    template <typename Condition>
    void wait(Condition condition) {
        for (int i = 0; !condition(); ++i) {
            if (aborted) {
                throw std::runtime_error("the communicator was aborted");
            }
            timespec pause{0, i < 100 ? 1000 : 200000};
            nanosleep(&pause, nullptr);
        }
    }
    void meet() {
        uint64_t now = shared->generation;
        if (++shared->arrived == size) {
            shared->arrived = 0;
            ++shared->generation;
        } else {
            wait([&] { return shared->generation != now; });
        }
    }
    void agree(const char *name, size_t count, int type, int op, int root) {
        Call &own = shared->calls[rank];
        memset(&own, 0, sizeof own);
        snprintf(own.name, sizeof own.name, "%s", name);
        own.count = count, own.type = type, own.op = op, own.root = root;
        meet();
        bool equal = true;
        for (int i = 0; i < size; ++i) {
            equal &= memcmp(&shared->calls[i], &own, sizeof own) == 0;
        }
        meet();
        if (!equal) {
            throw std::runtime_error("the processes make different calls");
        }
    }
};

size_t bytes_of(int type) {
    constexpr size_t sizes[] = {1, 1, 4, 4, 8, 8, 2, 4, 8, 2};
    return type >= 0 && type < 10 ? sizes[type] : 0;
}

template <typename T>
void combine_as(char *total, const char *more, size_t count, int op) {
    for (size_t i = 0; i < count; ++i) {
        T a, b;
        memcpy(&a, total + i * sizeof(T), sizeof(T));
        memcpy(&b, more + i * sizeof(T), sizeof(T));
        switch (op) {
            case sum:
            case average: a = T(a + b); break;
            case product: a = T(a * b); break;
            case maximum: a = b > a || b != b ? b : a; break;
            default: a = b < a || b != b ? b : a;
        }
        memcpy(total + i * sizeof(T), &a, sizeof(T));
    }
}

template <typename T>
void divide_as(char *total, size_t count, int by) {
    for (size_t i = 0; i < count; ++i) {
        T a;
        memcpy(&a, total + i * sizeof(T), sizeof(T));
        a = T(a / by);
        memcpy(total + i * sizeof(T), &a, sizeof(T));
    }
}

void divide(char *total, size_t count, int type, int by) {
    switch (type) {
        case 0: return divide_as<int8_t>(total, count, by);
        case 1: return divide_as<uint8_t>(total, count, by);
        case 2: return divide_as<int32_t>(total, count, by);
        case 3: return divide_as<uint32_t>(total, count, by);
        case 4: return divide_as<int64_t>(total, count, by);
        case 5: return divide_as<uint64_t>(total, count, by);
        case 6: return divide_as<Half>(total, count, by);
        case 7: return divide_as<float>(total, count, by);
        case 8: return divide_as<double>(total, count, by);
        default: return divide_as<BFloat16>(total, count, by);
    }
}

void combine(char *total, const char *more, size_t count, int type, int op) {
    switch (type) {
        case 0: return combine_as<int8_t>(total, more, count, op);
        case 1: return combine_as<uint8_t>(total, more, count, op);
        case 2: return combine_as<int32_t>(total, more, count, op);
        case 3: return combine_as<uint32_t>(total, more, count, op);
        case 4: return combine_as<int64_t>(total, more, count, op);
        case 5: return combine_as<uint64_t>(total, more, count, op);
        case 6: return combine_as<Half>(total, more, count, op);
        case 7: return combine_as<float>(total, more, count, op);
        case 8: return combine_as<double>(total, more, count, op);
        default: return combine_as<BFloat16>(total, more, count, op);
    }
}

// Calls `part(begin, length)` for the chunks of some bytes. A chunk holds whole elements.
template <typename Part>
void in_chunks(size_t bytes, Part part) {
    for (size_t begin = 0; begin < bytes; begin += chunk) {
        part(begin, std::min(chunk, bytes - begin));
    }
}

struct Arguments {
    const char *name;
    const void *from;
    void *to;
    size_t count;
    int type, op, root;
    Communicator *comm;
    void *stream;
};

// Puts a collective on its stream. `move` gets the communicator and the two arrays.
template <typename Move>
Status collective(const Arguments &a, size_t bytes_from, size_t bytes_to, Move move) {
    if (!a.comm || bytes_of(a.type) == 0 || a.op < sum || a.op > average || a.root < 0 ||
        a.root >= a.comm->size) {
        fakecuda_complain((std::string(a.name) + ": invalid argument").c_str());
        return invalid_argument;
    }
    int code = enqueue(a.name, a.stream, [=] {
        check_memory(a.from, bytes_from, false, std::string(a.name) + ", sendbuff");
        check_memory(a.to, bytes_to, true, std::string(a.name) + ", recvbuff");
        a.comm->agree(a.name, a.count, a.type, a.op, a.root);
        move(*a.comm, static_cast<const char *>(a.from), static_cast<char *>(a.to));
    });
    return code == 0 ? success : Status(1);
}

// Reduces `bytes` bytes at `from`, of which those from `first` on, `length` many, go to `to`.
void reduce_into(Communicator &comm, const char *from, char *to, size_t bytes, size_t first,
                 size_t length, int type, int op) {
    in_chunks(bytes, [&](size_t begin, size_t size) {
        memcpy(comm.shared->slots[comm.rank], from + begin, size);
        comm.meet();
        size_t low = std::max(begin, first), high = std::min(begin + size, first + length);
        if (low < high) {
            char *target = to + (low - first);
            memcpy(target, comm.shared->slots[0] + (low - begin), high - low);
            for (int i = 1; i < comm.size; ++i) {
                combine(target, comm.shared->slots[i] + (low - begin),
                        (high - low) / bytes_of(type), type, op);
            }
            if (op == average) {
                divide(target, (high - low) / bytes_of(type), type, comm.size);
            }
        }
        comm.meet();
    });
}

}  // namespace

FAKECUDA_EXPORT const char *ncclGetErrorString(int status) {
    constexpr const char *texts[] = {"no error", "unhandled cuda error", "unhandled system error",
                                     "internal error", "invalid argument", "invalid usage"};
    return status >= 0 && status < 6 ? texts[status] : "unknown result code";
}

FAKECUDA_EXPORT int ncclGetVersion(int *version) {
    *version = 22304;
    return success;
}

FAKECUDA_EXPORT int ncclGetUniqueId(Identity *identity) {
    std::random_device random;
    memset(identity, 0, sizeof *identity);
    snprintf(identity->internal, sizeof identity->internal, "/fakenccl-%d-%08x%08x", int(getpid()),
             random(), random());
    return success;
}

FAKECUDA_EXPORT int ncclCommInitRankConfig(Communicator **made, int size, Identity identity,
                                           int rank, void *) {
    if (size > most || rank < 0 || rank >= size) {
        fakecuda_complain("ncclCommInitRankConfig: at most 16 processes, with ranks below that");
        return invalid_argument;
    }
    int file = shm_open(identity.internal, O_CREAT | O_RDWR, 0600);
    if (file < 0 || ftruncate(file, sizeof(Segment)) != 0) {
        fakecuda_complain("ncclCommInitRankConfig: there is no shared memory");
        return system_error;
    }
    void *memory = mmap(nullptr, sizeof(Segment), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (memory == MAP_FAILED) {
        return system_error;
    }
    *made = new Communicator{static_cast<Segment *>(memory), rank, size};
    ++(*made)->shared->joined;
    (*made)->wait([&] { return (*made)->shared->joined >= size; });
    if (rank == 0) {
        shm_unlink(identity.internal);
    }
    return success;
}

// What is aborted may still be in use by a call, whose memory must stay.
FAKECUDA_EXPORT int ncclCommAbort(Communicator *comm) {
    comm->aborted = true;
    return success;
}

FAKECUDA_EXPORT int ncclCommDestroy(Communicator *comm) { return ncclCommAbort(comm); }

FAKECUDA_EXPORT int ncclCommGetAsyncError(Communicator *, int *error) {
    *error = success;
    return success;
}

FAKECUDA_EXPORT int ncclCommUserRank(Communicator *comm, int *rank) {
    *rank = comm->rank;
    return success;
}

FAKECUDA_EXPORT int ncclCommCount(Communicator *comm, int *count) {
    *count = comm->size;
    return success;
}

FAKECUDA_EXPORT int ncclAllReduce(const void *from, void *to, size_t count, int type, int op,
                                  Communicator *comm, void *stream) {
    size_t bytes = count * bytes_of(type);
    return collective({"ncclAllReduce", from, to, count, type, op, 0, comm, stream}, bytes, bytes,
                      [=](Communicator &c, const char *a, char *b) {
                          reduce_into(c, a, b, bytes, 0, bytes, type, op);
                      });
}

FAKECUDA_EXPORT int ncclReduce(const void *from, void *to, size_t count, int type, int op, int root,
                               Communicator *comm, void *stream) {
    size_t bytes = count * bytes_of(type);
    return collective({"ncclReduce", from, to, count, type, op, root, comm, stream}, bytes,
                      comm && comm->rank == root ? bytes : 0,
                      [=](Communicator &c, const char *a, char *b) {
                          reduce_into(c, a, b, bytes, 0, c.rank == root ? bytes : 0, type, op);
                      });
}

FAKECUDA_EXPORT int ncclReduceScatter(const void *from, void *to, size_t count, int type, int op,
                                      Communicator *comm, void *stream) {
    size_t part = count * bytes_of(type);
    return collective({"ncclReduceScatter", from, to, count, type, op, 0, comm, stream},
                      comm ? part * comm->size : 0, part,
                      [=](Communicator &c, const char *a, char *b) {
                          reduce_into(c, a, b, part * c.size, part * c.rank, part, type, op);
                      });
}

FAKECUDA_EXPORT int ncclAllGather(const void *from, void *to, size_t count, int type,
                                  Communicator *comm, void *stream) {
    size_t part = count * bytes_of(type);
    return collective({"ncclAllGather", from, to, count, type, sum, 0, comm, stream}, part,
                      comm ? part * comm->size : 0, [=](Communicator &c, const char *a, char *b) {
                          in_chunks(part, [&](size_t begin, size_t size) {
                              memcpy(c.shared->slots[c.rank], a + begin, size);
                              c.meet();
                              for (int i = 0; i < c.size; ++i) {
                                  memcpy(b + part * i + begin, c.shared->slots[i], size);
                              }
                              c.meet();
                          });
                      });
}

FAKECUDA_EXPORT int ncclBroadcast(const void *from, void *to, size_t count, int type, int root,
                                  Communicator *comm, void *stream) {
    size_t bytes = count * bytes_of(type);
    bool is_root = comm && comm->rank == root;
    return collective({"ncclBroadcast", from, to, count, type, sum, root, comm, stream},
                      is_root ? bytes : 0, bytes, [=](Communicator &c, const char *a, char *b) {
                          in_chunks(bytes, [&](size_t begin, size_t size) {
                              if (c.rank == root) {
                                  memcpy(c.shared->slots[root], a + begin, size);
                              }
                              c.meet();
                              memmove(b + begin, c.shared->slots[root], size);
                              c.meet();
                          });
                      });
}

FAKECUDA_EXPORT int ncclBcast(void *array, size_t count, int type, int root, Communicator *comm,
                              void *stream) {
    return ncclBroadcast(array, array, count, type, root, comm, stream);
}

// Calls of a group run one after the other here: those that wait for each other would not end.
FAKECUDA_EXPORT int ncclGroupStart() { return success; }
FAKECUDA_EXPORT int ncclGroupEnd() { return success; }

FAKECUDA_EXPORT int ncclSend(const void *from, size_t count, int type, int peer, Communicator *comm,
                             void *stream) {
    if (!comm || peer < 0 || peer >= comm->size) {
        return invalid_argument;
    }
    size_t bytes = count * bytes_of(type);
    int code = enqueue("ncclSend", stream, [=] {
        check_memory(from, bytes, false, "ncclSend, sendbuff");
        std::atomic<int> &mail = comm->shared->mail[comm->rank];
        in_chunks(bytes, [&](size_t begin, size_t size) {
            memcpy(comm->shared->letters[comm->rank], static_cast<const char *>(from) + begin, size);
            mail = 1 + peer;
            comm->wait([&] { return mail == 0; });
        });
    });
    return code == 0 ? success : Status(1);
}

FAKECUDA_EXPORT int ncclRecv(void *to, size_t count, int type, int peer, Communicator *comm,
                             void *stream) {
    if (!comm || peer < 0 || peer >= comm->size) {
        return invalid_argument;
    }
    size_t bytes = count * bytes_of(type);
    int code = enqueue("ncclRecv", stream, [=] {
        check_memory(to, bytes, true, "ncclRecv, recvbuff");
        std::atomic<int> &mail = comm->shared->mail[peer];
        in_chunks(bytes, [&](size_t begin, size_t size) {
            comm->wait([&] { return mail == 1 + comm->rank; });
            memcpy(static_cast<char *>(to) + begin, comm->shared->letters[peer], size);
            mail = 0;
        });
    });
    return code == 0 ? success : Status(1);
}
