/* Products of matrices of middle sizes, see products.py: y = a b, for double, or with SINGLE for float.

   A part of a product is a block of rows times a panel: as many columns as two vectors have elements.
   The panel's part of b is copied first, row by row, unless it is small; then tiles of y, of some rows
   each, are added up in registers. An element is added up in the same order for any number of threads.

   If y is turned, its rows lie in memory as columns do elsewhere: what is computed is the transposed
   product of transposed matrices, of which the smaller one is b. */

#ifndef REAL

#if defined(__AVX512F__)
#define VECTOR 64 /* bytes */
#define ROWS 12 /* of a tile; 2 * ROWS vectors are in registers */
#define MIDDLE 8 /* of a lower one */
#elif defined(__AVX2__) && defined(__FMA__)
#define VECTOR 32
#define ROWS 6
#define MIDDLE 4
#else
#error "products are those of BLAS for processors without these vectors"
#endif
#ifndef __has_builtin
#define __has_builtin(name) 0
#endif
#define INLINE static inline __attribute__((always_inline))
/* Copies for constant arguments take a compiler long. */
#define ONCE static __attribute__((noinline, noclone))
#define UNROLLED _Pragma("GCC unroll 16")
/* A pointer that compilers do not compute from another one: they have too few registers for all. */
#define KEPT(pointer) __asm__("" : "+r"(pointer))

typedef __PTRDIFF_TYPE__ index_t;
typedef void (*part_t)(void *const *arrays, char *work, index_t part);
typedef void (*share_t)(part_t task, void *const *arrays, char *work, index_t size, index_t count);

enum { PANEL = 1 << 15 }; /* bytes of a panel's part, which stay in the first cache */
enum { BLOCK = 1 << 18 }; /* and of a block of rows, which stay in the second */
enum { GROUP = 4 * ROWS }; /* rows of y that are turned at a time */
enum { FEW = 4 };          /* parts below which blocks are made for threads */
enum { WORTH = 1 << 21 }; /* multiplications that make threads worth it: some 20 us */

/* Sizes, strides in elements, and the axes of a stack of products. Elements of a row of y lie side by
   side; if it is turned, y is the transpose of a matrix without gaps. */
typedef struct {
    index_t rows, depth, columns, a_down, a_along, b_down, b_along, y_down, turned, axes;
    struct { index_t size, a, b, y; } axis[];
} product_t;

/* A matrix is transposed by interleaving its upper half with its lower one, some times. */
#define LOW_4 0, 4, 1, 5
#define HIGH_4 2, 6, 3, 7
#define LOW_8 0, 8, 1, 9, 2, 10, 3, 11
#define HIGH_8 4, 12, 5, 13, 6, 14, 7, 15
/* One of sixteen columns, of quarters of four. */
#define LOW_ONES 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define HIGH_ONES 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOW_PAIRS 0, 8, 2, 10, 4, 12, 6, 14
#define HIGH_PAIRS 1, 9, 3, 11, 5, 13, 7, 15
#define EVEN_QUARTERS 0, 1, 4, 5, 8, 9, 12, 13
#define ODD_QUARTERS 2, 3, 6, 7, 10, 11, 14, 15
#define PAIRS(x, y, order) (vector)__builtin_shufflevector((pairs_t)(x), (pairs_t)(y), order)

#ifdef SINGLE
#define REAL float
#define NAME(name) s_##name
#define LANES (VECTOR / 4)
#else
#define REAL double
#define NAME(name) d_##name
#define LANES (VECTOR / 8)
#endif
#include __FILE__

#else

typedef REAL NAME(vector) __attribute__((vector_size(VECTOR), aligned(sizeof(REAL))));
typedef REAL NAME(half) __attribute__((vector_size(VECTOR / 2), aligned(sizeof(REAL))));
typedef REAL NAME(quarter) __attribute__((vector_size(VECTOR / 4), aligned(sizeof(REAL))));
#define vector NAME(vector)
#define WIDTH (2 * LANES)                          /* elements of a row of a panel */
#define DEPTH (PANEL / WIDTH / (index_t)sizeof(REAL)) /* rows of a panel's part */

INLINE vector NAME(load)(const REAL *from) { return *(const vector *)from; }
INLINE void NAME(store)(REAL *to, vector x) { *(vector *)to = x; }

/* Copy rows that are contiguous. */
ONCE void NAME(copy_rows)(const REAL *b, index_t down, index_t depth, index_t width, REAL *panel)
{
    for (index_t k = 0; k < depth; k++, b += down, panel += WIDTH) {
        if (width == WIDTH) {
            NAME(store)(panel, NAME(load)(b));
            NAME(store)(panel + LANES, NAME(load)(b + LANES));
            continue;
        }
        for (index_t j = 0; j < width; j++) panel[j] = b[j];
        for (index_t j = width; j < WIDTH; j++) panel[j] = 0;
    }
}

ONCE void NAME(copy_any)(const REAL *b, index_t down, index_t along, index_t depth, index_t width,
                         REAL *panel)
{
    for (index_t j = 0; j < WIDTH; j++)
        for (index_t k = 0; k < depth; k++)
            panel[k * WIDTH + j] = j < width ? b[k * down + j * along] : 0;
}

#if __has_builtin(__builtin_shufflevector)
#define JOINED(name, lanes) name##lanes
#define LIST(name, lanes) JOINED(name, lanes)
#if LANES == 8
#define LOW LOW_8
#define HIGH HIGH_8
#elif LANES == 4
#define LOW LOW_4
#define HIGH HIGH_4
#endif

/* Copy so many rows of LANES elements as columns: the first one again for missing ones. */
ONCE void NAME(copy_square)(const REAL *from, index_t along, index_t count, REAL *to, index_t step)
{
    typedef double pairs_t __attribute__((vector_size(VECTOR)));
    vector x[LANES], y[LANES];
    UNROLLED for (int i = 0; i < LANES; i++) x[i] = NAME(load)(from + (i < count ? i : 0) * along);
#if LANES == 16
    /* Elements, then pairs, change places within quarters of vectors, then quarters twice: what
       goes beyond quarters takes some processors twice as long. */
    UNROLLED for (int i = 0; i < 16; i += 2) {
        y[i] = __builtin_shufflevector(x[i], x[i + 1], LOW_ONES);
        y[i + 1] = __builtin_shufflevector(x[i], x[i + 1], HIGH_ONES);
    }
    UNROLLED for (int i = 0; i < 16; i += 4)
        UNROLLED for (int j = 0; j < 2; j++) {
            x[i + 2 * j] = PAIRS(y[i + j], y[i + j + 2], LOW_PAIRS);
            x[i + 2 * j + 1] = PAIRS(y[i + j], y[i + j + 2], HIGH_PAIRS);
        }
    UNROLLED for (int i = 0; i < 4; i++)
        UNROLLED for (int j = 0; j < 16; j += 8) {
            y[i + j] = PAIRS(x[i + j], x[i + j + 4], EVEN_QUARTERS);
            y[i + j + 4] = PAIRS(x[i + j], x[i + j + 4], ODD_QUARTERS);
        }
    UNROLLED for (int i = 0; i < 8; i++) {
        x[i] = PAIRS(y[i], y[i + 8], EVEN_QUARTERS);
        x[i + 8] = PAIRS(y[i], y[i + 8], ODD_QUARTERS);
    }
#else
    UNROLLED for (int round = 1; round < LANES; round *= 2) {
        UNROLLED for (int i = 0; i < LANES / 2; i++) {
            y[2 * i] = __builtin_shufflevector(x[i], x[i + LANES / 2], LOW);
            y[2 * i + 1] = __builtin_shufflevector(x[i], x[i + LANES / 2], HIGH);
        }
        UNROLLED for (int i = 0; i < LANES; i++) x[i] = y[i];
    }
#endif
    UNROLLED for (int i = 0; i < LANES; i++) {
        if (i % 4 == 0 && i) {
            to += 4 * step;
            KEPT(to);
        }
        NAME(store)(to + i % 4 * step, x[i]);
    }
}

ONCE void NAME(copy_columns)(const REAL *b, index_t along, index_t depth, index_t width,
                             REAL *panel)
{
    index_t k = 0;
    for (; k + LANES <= depth; k += LANES)
        for (index_t j = 0; j < WIDTH; j += LANES) {
            const REAL *const from = b + j * along + k;
            if (j < width) NAME(copy_square)(from, along, width - j, panel + k * WIDTH + j, WIDTH);
        }
    NAME(copy_any)(b + k, 1, along, depth - k, width, panel + k * WIDTH);
}
#undef LOW
#undef HIGH
#else
ONCE void NAME(copy_columns)(const REAL *b, index_t along, index_t depth, index_t width,
                             REAL *panel)
{
    NAME(copy_any)(b, 1, along, depth, width, panel);
}

INLINE void NAME(copy_square)(const REAL *from, index_t along, index_t count, REAL *to, index_t step)
{
    for (index_t i = 0; i < count; i++)
        for (index_t j = 0; j < LANES; j++) to[j * step + i] = from[i * along + j];
}
#endif

/* A tile of y: some rows of a, times a panel of so many vectors, whose rows begin next elements
   after each other. */
INLINE void NAME(tile)(const int rows, const int vectors, const REAL *a, index_t down, index_t along,
                       const REAL *panel, index_t next, index_t depth, REAL *y, index_t step, int adds)
{
    vector sums[ROWS][2];
    const REAL *four[(ROWS + 3) / 4]; /* rows each, for which two registers of strides suffice */
    UNROLLED for (int i = 0; i < rows; i++)
        UNROLLED for (int j = 0; j < vectors; j++) sums[i][j] = (vector){0};
    UNROLLED for (int i = 0; i < (rows + 3) / 4; i++) {
        four[i] = a + 4 * i * down;
        KEPT(four[i]);
    }
    for (index_t k = 0; k < depth; k++, panel += next) {
        vector b[2];
        UNROLLED for (int j = 0; j < vectors; j++) b[j] = NAME(load)(panel + j * LANES);
        UNROLLED for (int i = 0; i < rows; i++)
            UNROLLED for (int j = 0; j < vectors; j++) sums[i][j] += four[i / 4][i % 4 * down] * b[j];
        UNROLLED for (int i = 0; i < (rows + 3) / 4; i++) four[i] += along;
    }
    UNROLLED for (int i = 0; i < rows; i++) {
        if (i % 4 == 0 && i) {
            y += 4 * step;
            KEPT(y);
        }
        UNROLLED for (int j = 0; j < vectors; j++) {
            REAL *const to = y + i % 4 * step + j * LANES;
            NAME(store)(to, adds ? sums[i][j] + NAME(load)(to) : sums[i][j]);
        }
    }
}

/* The tiles of a panel's part, below each other. */
INLINE void NAME(tiles)(const int vectors, index_t rows, const REAL *a, index_t down, index_t along,
                        const REAL *panel, index_t next, index_t depth, REAL *y, index_t step, int adds)
{
    for (int height; rows > 0; rows -= height, a += height * down, y += height * step) {
        height = rows == 2 * MIDDLE ? MIDDLE : rows >= ROWS ? ROWS : rows >= MIDDLE ? MIDDLE
            : rows >= 2 ? 2 : 1;
        if (height == ROWS)
            NAME(tile)(ROWS, vectors, a, down, along, panel, next, depth, y, step, adds);
        else if (height == MIDDLE)
            NAME(tile)(MIDDLE, vectors, a, down, along, panel, next, depth, y, step, adds);
        else if (height == 2) NAME(tile)(2, vectors, a, down, along, panel, next, depth, y, step, adds);
        else NAME(tile)(1, vectors, a, down, along, panel, next, depth, y, step, adds);
    }
}

ONCE void NAME(tiles_1)(index_t rows, const REAL *a, index_t down, index_t along,
                        const REAL *panel, index_t depth, REAL *y, index_t step, int adds)
{
    NAME(tiles)(1, rows, a, down, along, panel, WIDTH, depth, y, step, adds);
}

ONCE void NAME(tiles_2)(index_t rows, const REAL *a, index_t down, index_t along,
                        const REAL *panel, index_t next, index_t depth, REAL *y, index_t step,
                        int adds)
{
    NAME(tiles)(2, rows, a, down, along, panel, next, depth, y, step, adds);
}

/* Elements from j on of a row, as many as fill vectors of a type. */
#define MOVE(type) \
    for (; j + (index_t)(sizeof(type) / sizeof(REAL)) <= width; j += sizeof(type) / sizeof(REAL)) { \
        const type x = *(const type *)(from + j); \
        type *const to = (type *)(y + j); \
        *to = adds ? x + *to : x; \
    }

/* Tiles that y has less columns than: some rows at a time go through memory of their own. */
ONCE void NAME(edge)(index_t rows, const REAL *a, index_t down, index_t along, const REAL *panel,
                     index_t depth, index_t width, REAL *y, index_t step, int adds)
{
    REAL own[ROWS * WIDTH];
    for (index_t height; rows > 0; rows -= height, a += height * down) {
        height = rows < ROWS ? rows : ROWS;
        if (width > LANES) NAME(tiles_2)(height, a, down, along, panel, WIDTH, depth, own, WIDTH, 0);
        else NAME(tiles_1)(height, a, down, along, panel, depth, own, WIDTH, 0);
        const REAL *from = own;
        for (index_t i = 0; i < height; i++, y += step, from += WIDTH) {
            index_t j = 0;
            MOVE(vector)
            MOVE(NAME(half))
            MOVE(NAME(quarter))
            MOVE(REAL)
        }
    }
}

/* Tiles of y where that is turned: some rows at a time go through memory of their own. */
ONCE void NAME(turned)(index_t rows, const REAL *a, index_t down, index_t along, const REAL *panel,
                       index_t depth, index_t width, REAL *y, index_t step)
{
    REAL own[GROUP * WIDTH];
    for (index_t height; rows > 0; rows -= height, a += height * down, y += height) {
        height = rows < GROUP ? rows : GROUP;
        if (width > LANES) NAME(tiles_2)(height, a, down, along, panel, WIDTH, depth, own, WIDTH, 0);
        else NAME(tiles_1)(height, a, down, along, panel, depth, own, WIDTH, 0);
        const index_t squares = width % LANES ? 0 : height / LANES * LANES;
        for (index_t i = 0; i < squares; i += LANES)
            for (index_t j = 0; j < width; j += LANES)
                NAME(copy_square)(own + i * WIDTH + j, WIDTH, LANES, y + j * step + i, step);
        for (index_t j = 0; j < width; j++)
            for (index_t i = squares; i < height; i++) y[j * step + i] = own[i * WIDTH + j];
    }
}

/* The number of rows of a block. */
static index_t NAME(block)(const product_t *p, index_t panels, int is_shared)
{
    if (p->turned) { /* each block copies the panels again */
        const index_t blocks = is_shared && panels < FEW ? (FEW + panels - 1) / panels : 1;
        return ((p->rows + blocks - 1) / blocks + GROUP - 1) / GROUP * GROUP;
    }
    const index_t rows = BLOCK / (p->depth * (index_t)sizeof(REAL)) / ROWS * ROWS;
    return p->rows <= rows || p->rows <= 8 * ROWS ? p->rows : rows < 8 * ROWS ? 8 * ROWS : rows;
}

/* Whether the rows of a panel stay in the first cache where they are: few, and not in the same places
   of it, as those that begin a power of two after each other. */
INLINE int NAME(stays)(const product_t *p, index_t width)
{
    const index_t apart = p->b_down * (index_t)sizeof(REAL);
    return p->b_along == 1 && width == WIDTH && !p->turned && p->depth <= DEPTH / 4 && apart % 128;
}

ONCE void NAME(part)(void *const *arrays, char *work, index_t part)
{
    const product_t *const p = arrays[0];
    const REAL *a = arrays[1], *b = arrays[2];
    REAL *y = arrays[3], *const panel = (REAL *)work;
    const index_t block = *(const index_t *)arrays[4], panels = (p->columns + WIDTH - 1) / WIDTH;
    const index_t column = part % panels * WIDTH;
    part /= panels;
    const index_t blocks = (p->rows + block - 1) / block, row = part % blocks * block;
    part /= blocks;
    for (index_t d = p->axes - 1; d >= 0; part /= p->axis[d].size, d--) {
        const index_t i = part % p->axis[d].size;
        a += i * p->axis[d].a, b += i * p->axis[d].b, y += i * p->axis[d].y;
    }
    const index_t rows = p->rows - row < block ? p->rows - row : block;
    const index_t width = p->columns - column < WIDTH ? p->columns - column : WIDTH;
    const index_t pieces = p->turned ? 1 : (p->depth + DEPTH - 1) / DEPTH;
    const index_t most = (p->depth + pieces - 1) / pieces;
    a += row * p->a_down, b += column * p->b_along;
    y += p->turned ? column * p->rows + row : row * p->y_down + column;
    if (NAME(stays)(p, width)) {
        NAME(tiles_2)(rows, a, p->a_down, p->a_along, b, p->b_down, p->depth, y, p->y_down, 0);
        return;
    }
    for (index_t k = 0; k < p->depth; k += most, a += most * p->a_along, b += most * p->b_down) {
        const index_t depth = p->depth - k < most ? p->depth - k : most;
        if (p->b_along == 1) NAME(copy_rows)(b, p->b_down, depth, width, panel);
        else if (p->b_down == 1) NAME(copy_columns)(b, p->b_along, depth, width, panel);
        else NAME(copy_any)(b, p->b_down, p->b_along, depth, width, panel);
        if (p->turned)
            NAME(turned)(rows, a, p->a_down, p->a_along, panel, depth, width, y, p->rows);
        else if (width == LANES)
            NAME(tiles_1)(rows, a, p->a_down, p->a_along, panel, depth, y, p->y_down, k > 0);
        else if (width < WIDTH)
            NAME(edge)(rows, a, p->a_down, p->a_along, panel, depth, width, y, p->y_down, k > 0);
        else
            NAME(tiles_2)(rows, a, p->a_down, p->a_along, panel, WIDTH, depth, y, p->y_down, k > 0);
    }
}

void NAME(product)(const product_t *p, const REAL *a, const REAL *b, REAL *y, char *work,
                   share_t threads)
{
    index_t count = 1;
    for (index_t d = 0; d < p->axes; d++) count *= p->axis[d].size;
    const int is_shared = threads && count * p->rows * p->columns * p->depth >= WORTH;
    const index_t panels = (p->columns + WIDTH - 1) / WIDTH;
    const index_t block = NAME(block)(p, panels, is_shared);
    const index_t parts = count * ((p->rows + block - 1) / block) * panels;
    const index_t size = p->turned ? p->depth * WIDTH * (index_t)sizeof(REAL) : PANEL;
    void *const arrays[] = {(void *)p, (void *)a, (void *)b, y, (void *)&block};
    if (is_shared && parts > 1) threads(NAME(part), arrays, work, size, parts);
    else
        for (index_t part = 0; part < parts; part++) NAME(part)(arrays, work, part);
}

#undef MOVE
#undef vector
#undef WIDTH
#undef DEPTH
#endif
