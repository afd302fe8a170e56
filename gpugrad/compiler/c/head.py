"""The C text with which the source of every program begins: types, and the objects of Python.

Imports nothing. The fields of an object are those that Python and NumPy keep for all extension
modules. There are no headers, which take a compiler longer than a small program does: compilers
know the functions of C by names of their own.
"""

import re

__all__ = ["HEAD", "OBJECTS", "without_headers"]

HEAD = """\
#define bool _Bool
#define true 1
#define false 0
#define INFINITY __builtin_inff()
#define NAN __builtin_nanf("")
typedef __INT32_TYPE__ int32_t;
typedef __INT64_TYPE__ int64_t;
typedef __UINT32_TYPE__ uint32_t;
typedef __UINT64_TYPE__ uint64_t;
typedef __UINTPTR_TYPE__ uintptr_t;
typedef __PTRDIFF_TYPE__ ptrdiff_t;
typedef __SIZE_TYPE__ size_t;

#define NOINLINE __attribute__((noinline))
/* A loop with a call in it is no vector loop, and compilers stop inlining after some calls. */
#define INLINE static inline __attribute__((always_inline))
typedef ptrdiff_t index_t;

/* A result below the smallest normal number takes x86 a hundred times as long as another: there
   SMALL_AS_ZERO makes it 0. Operands keep their values. */
#ifdef __x86_64__
#define MODE __builtin_ia32_stmxcsr()
#define SET_MODE(mode) __builtin_ia32_ldmxcsr(mode)
#define SMALL_AS_ZERO 0x8000
#else
#define MODE 0
#define SET_MODE(mode)
#define SMALL_AS_ZERO 0
#endif
"""

# The fields of an array are those of PyArrayObject_fields, those of a float PyFloatObject's.
OBJECTS = """\
typedef struct {{
    char head[{head}];
    char *data;
    int axes;
    index_t *shape;
    index_t *strides;
    void *base;
    void *dtype;
    int flags;
}} array_t;

/* An array, or, where dtype is REAL or WHOLE, a number. The lengths of its axes, and their strides
   unless that is -1, are in a table of sizes from these places on. */
typedef struct {{
    int dtype, axes, flags, shape, strides;
    index_t bytes;
}} expected_t;
enum {{ REAL = -1, WHOLE = -2 }};

typedef union {{
    double real;
    long long whole;
}} number_t;

typedef struct {{
    int base;
    index_t position, offset;
}} place_t;

static inline void swap(char **a, char **b)
{{
    char *const before = *a;
    *a = *b;
    *b = before;
}}

static void find(const place_t *places, int count, char *work, char **a, void **table, void **found)
{{
    for (int i = 0; i < count; i++, places++) {{
        char *const start = places->base == 0 ? work : places->base == 1 ? a[places->position]
            : (char *)table[places->position];
        found[i] = start + places->offset;
    }}
}}

static int matches(const array_t *array, const expected_t *expected, const index_t *sizes,
                   void **table)
{{
    if (*(void **)((char *)array + {type}) != table[0]) return 0;
    if (array->dtype != table[expected->dtype] || array->axes != expected->axes) return 0;
    if ((array->flags & expected->flags) != expected->flags) return 0;
    const index_t *shape = sizes + expected->shape, *strides = sizes + expected->strides;
    for (int axis = 0; axis < expected->axes; axis++)
        if (array->shape[axis] != shape[axis]) return 0;
    for (int axis = 0; expected->strides >= 0 && axis < expected->axes; axis++)
        if (array->shape[axis] != 1 && array->strides[axis] != strides[axis]) return 0;
    return 1;
}}

/* Take the addresses of arrays, and of numbers, which are copied; 0 if one is not as expected. */
static NOINLINE int take(char *const *items, const expected_t *expected, int count,
                         const index_t *sizes, void **table, char **a, number_t *x)
{{
    for (int i = 0; i < count; i++, expected++) {{
        if (expected->dtype >= 0) {{
            const array_t *const array = (array_t *)items[i];
            if (!matches(array, expected, sizes, table)) return 0;
            a[i] = array->data;
            continue;
        }}
        if (*(void **)(items[i] + {type}) != table[1]) return 0;
        const double number = *(double *)(items[i] + {head});
        if (expected->dtype == REAL) x->real = number;
        else x->whole = number;
        a[i] = (char *)x++;
    }}
    return 1;
}}

/* Whether an output is not in the place of its input, or some other array is there as well. */
static NOINLINE int clashes(char *const *a, const expected_t *expected, int count, const int *pair)
{{
    const char *start = a[pair[0]], *stop = start + expected[pair[0]].bytes;
    if (a[pair[1]] != start) return 1;
    for (int i = 0; i < count; i++)
        if (i != pair[0] && i != pair[1] && a[i] < stop && start < a[i] + expected[i].bytes)
            return 1;
    return 0;
}}
"""


_FLOATING = """
    acos acosh asin asinh atan atan2 atanh cbrt ceil copysign cos cosh erf erfc exp exp2 expm1 fabs
    floor fma fmax fmin fmod frexp hypot ldexp lgamma log log10 log1p log2 logb modf nearbyint
    nextafter pow remainder rint round scalbn sin sinh sqrt tan tanh tgamma trunc
"""
_NAMES = "abs isfinite isinf isnan labs llabs memcmp memcpy memmove memset signbit".split()
_KNOWN = {*_NAMES, *(name + end for name in _FLOATING.split() for end in ("", "f"))}
_INCLUDE = re.compile(r"^#include <(?:math|stdint|string)\.h>\n", re.MULTILINE)
_CALLED = re.compile(r"\b[a-z]\w*(?=\()")


def without_headers(text: str) -> str:
    """C text that needs no headers of C's math.h, stdint.h and string.h, behind `HEAD`.

    >>> print(without_headers("#include <math.h>\\nfloat f(float x) { return sqrtf(x); }"))
    #define sqrtf __builtin_sqrtf
    float f(float x) { return sqrtf(x); }
    """
    text = _INCLUDE.sub("", text)
    names = sorted(_KNOWN.intersection(_CALLED.findall(text)))
    return "".join(f"#define {name} __builtin_{name}\n" for name in names) + text
