#include "lapack.h"

#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "standin.h"

namespace {

std::mutex mutex;
std::map<std::string, void *> addresses;

}  // namespace

// Called by the Python loader for each function that SciPy has.
FAKECUDA_EXPORT void fakecuda_take_lapack(const char *name, void *address) {
    std::lock_guard lock(mutex);
    addresses[name] = address;
}

namespace fakecuda {

void *lapack_address(char letter, const char *name) {
    std::lock_guard lock(mutex);
    auto found = addresses.find(letter + std::string(name));
    if (found == addresses.end()) {
        throw std::runtime_error(std::string("SciPy's LAPACK has no ") + letter + name);
    }
    return found->second;
}

}  // namespace fakecuda
