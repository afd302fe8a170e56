// The stand-in for cuSPARSE: names of its statuses, which CuPy's errors are made of. Its functions
// are not here; each says so when it is called.
#include "standin.h"

namespace {

struct Text {
    const char *name, *text;
};

constexpr Text texts[] = {
    {"CUSPARSE_STATUS_SUCCESS", "success"},
    {"CUSPARSE_STATUS_NOT_INITIALIZED", "initialization error"},
    {"CUSPARSE_STATUS_ALLOC_FAILED", "out of memory"},
    {"CUSPARSE_STATUS_INVALID_VALUE", "invalid value"},
    {"CUSPARSE_STATUS_ARCH_MISMATCH", "architecture mismatch"},
    {"CUSPARSE_STATUS_MAPPING_ERROR", "texture memory failure"},
    {"CUSPARSE_STATUS_EXECUTION_FAILED", "kernel launch failure"},
    {"CUSPARSE_STATUS_INTERNAL_ERROR", "internal error"},
    {"CUSPARSE_STATUS_MATRIX_TYPE_NOT_SUPPORTED", "matrix type not supported"},
    {"CUSPARSE_STATUS_ZERO_PIVOT", "zero pivot"},
    {"CUSPARSE_STATUS_NOT_SUPPORTED", "operation not supported"},
    {"CUSPARSE_STATUS_INSUFFICIENT_RESOURCES", "insufficient resources"},
};

Text text_of(int status) {
    if (status < 0 || status >= int(sizeof texts / sizeof *texts)) {
        return {"unrecognized error code", "unrecognized error code"};
    }
    return texts[status];
}

}  // namespace

FAKECUDA_EXPORT const char *cusparseGetErrorName(int status) { return text_of(status).name; }

FAKECUDA_EXPORT const char *cusparseGetErrorString(int status) { return text_of(status).text; }

FAKECUDA_EXPORT int cusparseGetVersion(void *, int *version) {
    *version = 12510;
    return 0;
}
