/* What `call.c` is made of: structures, and the checks of a call. It is compiled with that. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef ptrdiff_t index_t;

typedef struct {
    union {
        uint32_t number;
        void *word;
    } count;
    void *type;
} object;

/* The fields of PyArrayObject_fields. */
typedef struct {
    object head;
    char *data;
    int axes;
    index_t *shape;
    index_t *strides;
    void *base;
    void *dtype;
    int flags;
    object *references;  /* weak ones */
} array_t;

#define FUNCTIONS(_) \
    _(void, Py_IncRef, (object *)) \
    _(void, Py_DecRef, (object *)) \
    _(object *, PyErr_Occurred, (void)) \
    _(int, PyErr_ExceptionMatches, (object *)) \
    _(void, PyErr_Clear, (void)) \
    _(void, PyErr_Fetch, (object **, object **, object **)) \
    _(void, PyErr_Restore, (object *, object *, object *)) \
    _(void *, PyEval_SaveThread, (void)) \
    _(void, PyEval_RestoreThread, (void *)) \
    _(int, PyContextVar_Get, (object *, object *, object **)) \
    _(object *, PyObject_CallNoArgs, (object *)) \
    _(object *, PyObject_Vectorcall, (object *, object *const *, size_t, object *)) \
    _(object *, PyObject_GetAttr, (object *, object *)) \
    _(int, PyObject_RichCompareBool, (object *, object *, int)) \
    _(object *, PyType_GenericAlloc, (object *, index_t)) \
    _(void *, PyLong_AsVoidPtr, (object *)) \
    _(object *, PyLong_FromVoidPtr, (void *)) \
    _(index_t, PyTuple_Size, (object *)) \
    _(object *, PyTuple_GetItem, (object *, index_t)) \
    _(object *, PyList_New, (index_t)) \
    _(index_t, PyList_Size, (object *)) \
    _(object *, PyList_GetItem, (object *, index_t)) \
    _(int, PyList_Append, (object *, object *)) \
    _(int, PyList_SetSlice, (object *, index_t, index_t, object *)) \
    _(index_t, PyDict_Size, (object *)) \
    _(int, PyDict_Next, (object *, index_t *, object **, object **)) \
    _(object *, PyDict_GetItem, (object *, object *)) \
    _(int, PyDict_SetItem, (object *, object *, object *)) \
    _(int, PyDict_Update, (object *, object *)) \
    _(object *, PyArray_Empty, (int, const index_t *, object *, int))

static struct {
#define FIELD(type, name, arguments) type (*name) arguments;
    FUNCTIONS(FIELD)
} py;

/* What all programs need. The offsets are those of slots in a Tensor. */
static struct {
    object *none, *yes, *no;
    object *array, *tensor;  /* types */
    object *tuple, *dict, *string, *whole, *off;
    object *missed, *stale;
    object *item, *settings, *latest;  /* names */
    object *stamps, *versions, *serial, *acquire, *release, *changed;  /* of `versions` */
    index_t array_at, node_at, gradient_at, name_at, references_at, tuple_head;
} known;

enum { TENSOR, ARRAY, NUMBER, CONSTANT };
enum { EQUAL = 2 };  /* Py_EQ */

typedef struct {
    object *dtype;
    index_t axes, bytes;
    const index_t *shape;
} kind_t;

/* An argument, or a part of one: a container of a type, or a constant, or else a leaf. */
typedef struct node {
    object *type, *constant;
    index_t count;
    const struct node *children;
    object *const *keys;
} node_t;

enum { CONTIGUOUS = 0x1, ALIGNED = 0x100, WRITEABLE = 0x400 };  /* flags of NumPy */

/* A tensor that a program is right for alone is its constant. */
typedef struct {
    index_t what;
    object *type, *node, *constant;
    kind_t kind;
} leaf_t;

/* See `places.py`. */
enum { ARGUMENT, FIXED, LIVING, ARRAY_OF, GRADIENT_OF, ITEM, STATE_OF, CALLED };

typedef struct place {
    index_t what, index;
    object *object, *name;
    const struct place *inner;
} place_t;

typedef struct {
    const place_t *place;
    kind_t kind;
    object *node;  /* its type: a leaf with hooks has another */
    index_t has_gradient;  /* -1: whichever */
} tensor_t;

enum { IN_PLACE, COPIED, NEW_ARRAY, NEW_GRADIENT, CLEARED };

typedef struct {
    index_t what, is_argument, output, input;
    const place_t *place;
} write_t;

enum { OUTPUT, NEW_TENSOR, GIVEN };

typedef struct {
    index_t what, output;
    const place_t *place;
} result_t;

typedef struct {
    object *variable, *value;
} variable_t;

typedef struct {
    object *dict, *name, *value;
} global_t;

/* Dicts that get what another one has by then. */
typedef struct {
    object *entries, *next;
} counter_t;

typedef struct {
    kind_t kind;
    index_t input;  /* whose memory it takes; -1 for a new array */
    index_t is_weak, is_gradient;  /* to be made when it is known what is there */
    object *make;  /* what makes an array of another order in memory than C's, or NULL */
} output_t;

typedef struct {
    int (*function)(char *, void **);
    void **table;
    index_t variable_count, global_count, leaf_count, tensor_count, layer_count, before_count;
    index_t input_count, output_count, write_count, after_count, result_count;
    const variable_t *variables;
    const global_t *globals;
    const node_t *arguments;
    const leaf_t *leaves;
    const tensor_t *tensors;
    const variable_t *layers;  /* weak references, and their modes */
    object *const *before;
    const place_t *const *inputs;
    const index_t *input_bytes, *in_arguments, *are_changed;
    const char **last;  /* where arrays that are no arguments' were, when they lay apart */
    const output_t *outputs;
    const write_t *writes;
    const counter_t *after;
    const result_t *results;
    object *acquire, *release;  /* of its lock, or NULL where it needs none */
    object *undo, *rest;
    object *finish, *build;  /* NULL where there is nothing to do */
    object *spare;  /* memory to work in that is not in use */
    kind_t work;
    index_t is_long;  /* so that other threads should run meanwhile */
} entry_t;

/* One call: its leaves, borrowed, and what it holds. */
typedef struct {
    const entry_t *entry;
    object **leaves;
    object *list;  /* of the leaves, for functions of Python */
    object **items;  /* inputs, outputs and memory to work in */
    object **targets, **values;  /* of writes: a tensor or an array, and a new gradient */
    object **given;  /* results that are found */
    object **taken;  /* gradients that no tensor has while the program writes to them */
    int has_run;
} call_t;

static object *owned(object *one)
{
    py.Py_IncRef(one);
    return one;
}

static object **slot(object *tensor, index_t at)
{
    return (object **)((char *)tensor + at);
}

static object *call_with(object *function, object *argument)
{
    return py.PyObject_Vectorcall(function, &argument, 1, NULL);
}

/* ---------------------------------------------------------------- what has to hold */

static int is_kind(const object *one, const kind_t *kind)
{
    const array_t *array = (const array_t *)one;  /* of which fields are read if it is one */
    if (one == NULL || one->type != known.array || array->dtype != kind->dtype || array->axes != kind->axes)
        return 0;
    for (index_t axis = 0; axis < kind->axes; axis++)
        if (array->shape[axis] != kind->shape[axis]) return 0;
    return 1;
}

static int has_value(object *variable, object *value)
{
    object *now = NULL;
    if (py.PyContextVar_Get(variable, NULL, &now) < 0 || now == NULL) return 0;
    const int same = now == value || (value == known.no && now->type == known.off
                                      && py.PyList_Size(now) == 0);
    py.Py_DecRef(now);
    return same;
}

static int modes_hold(const entry_t *e)
{
    for (index_t i = 0; i < e->variable_count; i++)
        if (!has_value(e->variables[i].variable, e->variables[i].value)) return 0;
    for (index_t i = 0; i < e->global_count; i++) {
        const global_t *one = &e->globals[i];
        if (py.PyDict_GetItem(one->dict, one->name) != one->value) return 0;
    }
    return 1;
}

/* Only strings and whole numbers are compared otherwise than by identity. */
static int is_equal(object *one, object *other)
{
    if (one == other) return 1;
    if (one->type != other->type) return 0;
    if (one->type != known.string && one->type != known.whole) return 0;
    return py.PyObject_RichCompareBool(one, other, EQUAL) == 1;
}

/* Whether an argument has a structure; its leaves go to `leaves`, which is moved on. */
static int flatten(const node_t *node, object *value, object ***leaves)
{
    if (node->constant != NULL) return is_equal(value, node->constant);
    if (node->type == NULL) {
        *(*leaves)++ = value;
        return 1;
    }
    if (value->type != node->type) return 0;
    if (node->type == known.dict) {
        index_t position = 0;
        object *key, *item;
        if (py.PyDict_Size(value) != node->count) return 0;
        for (index_t i = 0; i < node->count; i++) {
            if (!py.PyDict_Next(value, &position, &key, &item) || key != node->keys[i]) return 0;
            if (!flatten(&node->children[i], item, leaves)) return 0;
        }
        return 1;
    }
    const int is_tuple = node->type == known.tuple;
    if ((is_tuple ? py.PyTuple_Size : py.PyList_Size)(value) != node->count) return 0;
    for (index_t i = 0; i < node->count; i++) {
        object *item = (is_tuple ? py.PyTuple_GetItem : py.PyList_GetItem)(value, i);
        if (!flatten(&node->children[i], item, leaves)) return 0;
    }
    return 1;
}

static int leaf_holds(const leaf_t *leaf, object *value)
{
    if (value->type != leaf->type) return 0;
    if (leaf->what == TENSOR) {
        const object *node = *slot(value, known.node_at);
        return is_kind(*slot(value, known.array_at), &leaf->kind) && node != NULL
            && node->type == leaf->node && (leaf->constant == NULL || leaf->constant == value);
    }
    if (leaf->what == ARRAY) return is_kind(value, &leaf->kind);
    return leaf->what == NUMBER || is_equal(value, leaf->constant);
}

static int leaves_hold(const call_t *c)
{
    const entry_t *e = c->entry;
    for (index_t i = 0; i < e->leaf_count; i++) {
        if (!leaf_holds(&e->leaves[i], c->leaves[i])) return 0;
        if (e->leaves[i].what <= ARRAY)
            for (index_t j = 0; j < i; j++)
                if (c->leaves[i] == c->leaves[j]) return 0;
    }
    return 1;
}

/* What is found at a place: a new reference; NULL, with an error or without one, if nothing is. */
static object *find(const place_t *place, const call_t *c)
{
    object *inner, *found = NULL;
    switch (place->what) {
    case ARGUMENT:
        return owned(c->leaves[place->index]);
    case FIXED:
        return owned(place->object);
    case LIVING:
        found = py.PyObject_CallNoArgs(place->object);
        if (found == known.none) {
            py.Py_DecRef(found);
            return NULL;
        }
        return found;
    case ARRAY_OF:
    case GRADIENT_OF:
        inner = find(place->inner, c);
        if (inner == NULL) return NULL;
        found = *slot(inner, place->what == ARRAY_OF ? known.array_at : known.gradient_at);
        if (found != NULL && place->what == GRADIENT_OF && found->type != known.tensor)
            found = NULL;  /* none at all, or one of a class of the user's */
        py.Py_IncRef(found);
        py.Py_DecRef(inner);
        return found;
    case ITEM:
        return owned(py.PyList_GetItem(place->object, place->index));
    case STATE_OF:
        inner = py.PyList_GetItem(place->object, place->index);
        return inner == NULL ? NULL : owned(py.PyDict_GetItem(inner, place->name));
    default:
        return py.PyObject_CallNoArgs(place->object);
    }
}

/* Whether a tensor is an argument that needs a gradient. */
static int is_argument(const object *tensor, const call_t *c)
{
    for (index_t i = 0; i < c->entry->leaf_count; i++) {
        const leaf_t *leaf = &c->entry->leaves[i];
        if (c->leaves[i] == tensor && leaf->what == TENSOR && leaf->node != known.none->type) return 1;
    }
    return 0;
}

static int tensor_holds(const tensor_t *expected, const call_t *c)
{
    object *tensor = find(expected->place, c);
    if (tensor == NULL) return 0;
    const object *gradient = *slot(tensor, known.gradient_at);
    const int has = gradient != NULL && gradient != known.none;
    const int holds = is_kind(*slot(tensor, known.array_at), &expected->kind)
        && (*slot(tensor, known.node_at))->type == expected->node
        && (expected->has_gradient < 0 || expected->has_gradient == has)
        && !(expected->place->what == LIVING && is_argument(tensor, c));
    py.Py_DecRef(tensor);
    return holds;
}

static int layer_holds(const variable_t *layer)
{
    object *one = py.PyObject_CallNoArgs(layer->variable);
    if (one == NULL) return 0;
    object *settings = py.PyObject_GetAttr(one, known.settings);
    py.Py_DecRef(one);
    py.Py_DecRef(settings);  /* the program's own live on */
    return settings == layer->value;
}

static int holds(const call_t *c)
{
    const entry_t *e = c->entry;
    if (!leaves_hold(c)) return 0;
    for (index_t i = 0; i < e->tensor_count; i++)
        if (!tensor_holds(&e->tensors[i], c)) return 0;
    for (index_t i = 0; i < e->layer_count; i++)
        if (!layer_holds(&e->layers[i])) return 0;
    return 1;
}
