#include "counters.h"

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <string>

#include "api.h"

namespace fakecuda {

namespace {

struct Amount {
    Counter number{0}, bytes{0};
    void add(size_t size) {
        number++;
        bytes += size;
    }
};

// Counters by name. Entries are never removed, so that references to them stay valid.
class Table {
public:
    Counter &operator[](const std::string &name) {
        std::lock_guard<std::mutex> lock(mutex);
        return counters[name];
    }
    void write(std::string &out, const char *kind) {
        std::lock_guard<std::mutex> lock(mutex);
        for (const auto &[name, number] : counters) {
            if (number != 0) {
                out += std::string(kind) + " " + name + " " + std::to_string(number) + "\n";
            }
        }
    }

private:
    std::mutex mutex;
    std::map<std::string, Counter> counters;
};

constexpr std::array copy_names = {"HtoD", "DtoH", "DtoD", "PtoP", "HtoH", "fill"};

auto &launches = *new Table;
auto &library_calls = *new Table;
auto &waits = *new Table;
std::array<Amount, copy_names.size()> copies;
Amount allocations;
std::atomic<bool> idle_mode{false};

}  // namespace

const char *copy_name(CopyKind kind) { return copy_names[static_cast<size_t>(kind)]; }

Counter &launch_counter(const std::string &kernel) { return launches[kernel]; }

Counter &library_counter(const std::string &function) { return library_calls[function]; }

void count_copy(CopyKind kind, size_t bytes) { copies[static_cast<size_t>(kind)].add(bytes); }

void count_wait() { waits[api_name()]++; }

void count_allocation(size_t bytes) { allocations.add(bytes); }

bool idle() { return idle_mode.load(std::memory_order_relaxed); }

bool logging() {
    static const bool on = [] {
        const char *value = std::getenv("FAKECUDA_LOG");
        return value != nullptr && *value != '\0' && std::strcmp(value, "0") != 0;
    }();
    return on;
}

void log(const std::string &text) { std::fprintf(stderr, "[fakecuda] %s\n", text.c_str()); }

}  // namespace fakecuda

using namespace fakecuda;

FAKECUDA_EXPORT size_t fakecuda_counters(char *buffer, size_t size) {
    std::string text;
    launches.write(text, "launch");
    library_calls.write(text, "library");
    for (size_t kind = 0; kind < copies.size(); kind++) {
        if (copies[kind].number != 0) {
            text += std::string("copy ") + copy_names[kind] + " " +
                    std::to_string(copies[kind].number) + " " +
                    std::to_string(copies[kind].bytes) + "\n";
        }
    }
    waits.write(text, "wait");
    text += "allocation " + std::to_string(allocations.number) + " " +
            std::to_string(allocations.bytes) + "\n";
    if (size > 0) {
        const size_t length = text.copy(buffer, size - 1);
        buffer[length] = '\0';
    }
    return text.size();
}

FAKECUDA_EXPORT void fakecuda_set_idle(int on) { idle_mode = on != 0; }
