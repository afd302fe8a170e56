// Names and texts of errors, and the sentences that explain the last ones.
#pragma once

namespace fakecuda {

struct ErrorName {
    int code;
    const char *driver, *runtime;  // null where an API does not have the code
    const char *text;
};

// Null for a code that neither API has.
const ErrorName *find_error(int code);

}  // namespace fakecuda
