/* A call of a compiled function, from its arguments to its results, as a built-in function of Python.

   `call.py` describes a program by the structures of `call_checks.c`, which is compiled before this;
   the objects in them are borrowed, and kept alive by whoever keeps the function. First all is
   checked that the program depends on. If something is different, the call has done nothing and
   returns `missed`: the same call in Python, `Entry`, then finds out what to do, and so it does
   wherever an array is not as the program expects. Python's and NumPy's functions are fields of
   `py`, so that no headers are needed. All fields of the structures are words, as large as a
   pointer. */

/* ---------------------------------------------------------------- before the program runs */

static object *list_of(object *const *items, index_t count)
{
    object *list = py.PyList_New(0);
    for (index_t i = 0; list != NULL && i < count; i++)
        if (py.PyList_Append(list, items[i]) < 0) {
            py.Py_DecRef(list);
            list = NULL;
        }
    return list;
}

static object *empty(const kind_t *kind)
{
    return py.PyArray_Empty((int)kind->axes, kind->shape, owned(kind->dtype), 0);
}

static object *new_tensor(object *array)
{
    object *tensor = py.PyType_GenericAlloc(known.tensor, 0);
    if (tensor != NULL) {
        *slot(tensor, known.array_at) = owned(array);
        *slot(tensor, known.node_at) = owned(known.none);
    }
    return tensor;
}

static int begin(call_t *c)
{
    const entry_t *e = c->entry;
    for (index_t i = 0; i < e->before_count; i++) {
        object *done = py.PyObject_CallNoArgs(e->before[i]);
        if (done == NULL) return 0;
        py.Py_DecRef(done);
    }
    for (int is_drawn = 0; is_drawn < 2; is_drawn++)  /* last, since that cannot be undone */
        for (index_t i = 0; i < e->input_count; i++)
            if ((e->inputs[i]->what == CALLED) == is_drawn)
                if ((c->items[i] = find(e->inputs[i], c)) == NULL) return 0;
    return 1;
}

/* Whether an argument and what is changed share memory. Both are as expected, or the program does
   not run. */
static int is_shared(const call_t *c, const write_t *write, const array_t *target)
{
    const entry_t *e = c->entry;
    const char *start = target->data, *stop = start + e->outputs[write->output].kind.bytes;
    for (index_t i = 0; i < e->input_count; i++) {
        const array_t *one = (const array_t *)c->items[i];
        if (i == write->input || one->head.type != known.array) continue;
        if (write->what == IN_PLACE && !write->is_argument && !e->in_arguments[i]) continue;
        if (one->data < stop && start < one->data + e->input_bytes[i]) return 1;
    }
    return 0;
}

/* The array of an input that is no argument's; NULL if it is none. */
static const array_t *steady(const call_t *c, index_t i)
{
    const array_t *one = (const array_t *)c->items[i];
    return c->entry->in_arguments[i] || one->head.type != known.array ? NULL : one;
}

/* Whether an array that is no argument's lies elsewhere than before, and shares memory with another
   one, of which one is changed. */
static int is_tied(const call_t *c)
{
    const entry_t *e = c->entry;
    for (index_t i = 0; i < e->input_count; i++) {
        const array_t *one = steady(c, i);
        if (one == NULL || e->last[i] == one->data) continue;
        for (index_t j = 0; j < e->input_count; j++) {
            const array_t *other = steady(c, j);
            if (i == j || other == NULL || !(e->are_changed[i] || e->are_changed[j])) continue;
            if (one->data < other->data + e->input_bytes[j]
                && other->data < one->data + e->input_bytes[i]) return 1;
        }
    }
    return 0;
}

static void remember_places(const call_t *c)
{
    for (index_t i = 0; i < c->entry->input_count; i++) {
        const array_t *one = steady(c, i);
        c->entry->last[i] = one == NULL ? NULL : one->data;
    }
}

/* Whether a gradient is there that nobody else refers to: its memory then gets the new one. */
static int is_replaceable(object *gradient, const kind_t *kind)
{
    if (gradient == NULL || gradient->type != known.tensor || gradient->count.number != 1) return 0;
    object *one = *slot(gradient, known.array_at);
    if (!is_kind(one, kind) || one->count.number != 1) return 0;
    const array_t *array = (const array_t *)one;
    const int flags = CONTIGUOUS | ALIGNED | WRITEABLE;
    return (array->flags & flags) == flags && array->base == NULL && array->references == NULL
        && *slot(gradient, known.references_at) == NULL && *slot(gradient, known.name_at) == NULL
        && *slot(gradient, known.node_at) == known.none;
}

enum { FAILED, UNUSUAL, READY };

/* Find what is written to, and make what it is written from. */
static int prepare_writes(call_t *c)
{
    const entry_t *e = c->entry;
    object **outputs = c->items + e->input_count;
    if (e->last != NULL) {
        if (is_tied(c)) return UNUSUAL;
        remember_places(c);
    }
    for (index_t i = 0; i < e->write_count; i++) {
        const write_t *write = &e->writes[i];
        object *target = write->what == IN_PLACE ? owned(c->items[write->input])
                                                 : find(write->place, c);
        if (target == NULL) return FAILED;
        c->targets[i] = target;
        const array_t *array = (const array_t *)target;
        if (write->what == COPIED) {
            const int flags = CONTIGUOUS | ALIGNED | WRITEABLE;
            if (!is_kind(target, &e->outputs[write->output].kind)) return UNUSUAL;
            if ((array->flags & flags) != flags) return UNUSUAL;
        }
        if (write->what <= COPIED && is_shared(c, write, array)) return UNUSUAL;
        if (write->what == NEW_GRADIENT) {
            object **at = slot(target, known.gradient_at), *before = *at;
            object **output = &outputs[write->output];
            const kind_t *kind = &e->outputs[write->output].kind;
            if (is_replaceable(before, kind)) {
                *output = owned(*slot(before, known.array_at));
                if (e->is_long) {  /* other threads run meanwhile: to them there is none */
                    c->taken[i] = before;
                    *at = owned(known.none);
                }
                continue;
            }
            if ((*output = empty(kind)) == NULL) return FAILED;
            if ((c->values[i] = new_tensor(*output)) == NULL) return FAILED;
        } else if (write->what == NEW_ARRAY)
            c->values[i] = owned(c->items[e->input_count + write->output]);
        else if (write->what == CLEARED)
            c->values[i] = owned(known.none);
    }
    return READY;
}

/* Give tensors the gradients back that were taken for the program. */
static void give_back(call_t *c)
{
    for (index_t i = 0; i < c->entry->write_count; i++) {
        if (c->taken[i] == NULL) continue;
        object **at = slot(c->targets[i], known.gradient_at), *before = *at;
        *at = c->taken[i];
        c->taken[i] = before;  /* released with the call */
    }
}

static object *memory_to_work_in(const entry_t *e)
{
    const index_t count = py.PyList_Size(e->spare);
    if (count == 0) return empty(&e->work);
    object *work = owned(py.PyList_GetItem(e->spare, count - 1));
    py.PyList_SetSlice(e->spare, count - 1, count, NULL);
    return work;
}

/* All that may fail before the program runs. */
static int prepare(call_t *c)
{
    const entry_t *e = c->entry;
    object **outputs = c->items + e->input_count;
    for (index_t i = 0; i < e->result_count; i++)
        if (e->results[i].what == GIVEN)
            if ((c->given[i] = find(e->results[i].place, c)) == NULL) return FAILED;
    for (index_t i = 0; i < e->output_count; i++) {
        const output_t *one = &e->outputs[i];
        if (one->is_gradient) continue;
        if (one->input >= 0)
            outputs[i] = owned(c->items[one->input]);
        else
            outputs[i] = one->make ? py.PyObject_CallNoArgs(one->make) : empty(&one->kind);
        if (outputs[i] == NULL) return FAILED;
    }
    if ((outputs[e->output_count] = memory_to_work_in(e)) == NULL) return FAILED;
    return prepare_writes(c);
}

/* ---------------------------------------------------------------- the program, and after it */

static int run(call_t *c)
{
    const entry_t *e = c->entry;
    char *tuple = (char *)c->items - known.tuple_head;
    void *thread = e->is_long ? py.PyEval_SaveThread() : NULL;
    const int code = e->function(tuple, e->table);
    if (e->is_long) py.PyEval_RestoreThread(thread);
    py.PyList_Append(e->spare, c->items[e->input_count + e->output_count]);
    return code;
}

/* Stamp changes of memory, as `versions.changed_all` does. */
static int stamp(object **arrays, index_t count)
{
    object *unknown = NULL, *locked = call_with(known.acquire, known.no);
    if (locked == NULL) return 0;
    py.Py_DecRef(locked);
    if (locked == known.yes) {
        object *stamp = py.PyObject_CallNoArgs(known.serial);
        py.PyDict_SetItem(known.versions, known.latest, stamp);
        index_t left = 0;
        for (index_t i = 0; i < count; i++) {
            object *key = py.PyLong_FromVoidPtr(arrays[i]);
            object *entry = py.PyDict_GetItem(known.stamps, key);
            py.Py_DecRef(key);
            if (entry == NULL) {
                arrays[left++] = arrays[i];
                continue;
            }
            object *stamps = py.PyTuple_GetItem(entry, 1);
            py.PyList_Append(stamps, stamp);
            if (py.PyList_Size(stamps) > 64) py.PyList_SetSlice(stamps, 0, 32, NULL);
        }
        count = left;
        py.Py_DecRef(stamp);
        py.Py_DecRef(py.PyObject_CallNoArgs(known.release));
    }
    if (count == 0) return 1;
    unknown = list_of(arrays, count);
    object *done = unknown == NULL ? NULL : call_with(known.changed, unknown);
    if (done == NULL && unknown != NULL) {  /* an interrupt: once more, before it is raised */
        object *type = NULL, *value = NULL, *trace = NULL;
        py.PyErr_Fetch(&type, &value, &trace);
        py.Py_DecRef(call_with(known.changed, unknown));
        py.PyErr_Restore(type, value, trace);
    }
    py.Py_DecRef(unknown);
    py.Py_DecRef(done);
    return done != NULL;
}

/* Store what the program has computed. What was there is released with the call. */
static int store(call_t *c)
{
    const entry_t *e = c->entry;
    object *changed[e->write_count + 1];
    index_t count = 0;
    for (index_t i = 0; i < e->write_count; i++) {
        const write_t *write = &e->writes[i];
        object *target = c->targets[i];
        if (write->what == COPIED) {
            const array_t *from = (const array_t *)c->items[e->input_count + write->output];
            memcpy(((array_t *)target)->data, from->data, e->outputs[write->output].kind.bytes);
        }
        if (write->what <= COPIED) {
            changed[count++] = target;
            continue;
        }
        if (c->values[i] == NULL) continue;  /* what is there has got other values */
        object **to = slot(target, write->what == NEW_ARRAY ? known.array_at : known.gradient_at);
        object *before = *to;
        *to = c->values[i];
        c->values[i] = before;
    }
    int good = 1;
    for (index_t i = 0; i < e->after_count; i++) {
        const index_t entries = py.PyList_Size(e->after[i].entries);
        for (index_t j = 0; j < entries; j++) {
            object *entry = py.PyList_GetItem(e->after[i].entries, j);
            good = py.PyDict_Update(entry, e->after[i].next) == 0 && good;
        }
    }
    return (count == 0 || stamp(changed, count)) && good;
}

static object *output_of(const call_t *c, index_t number)
{
    object *array = c->items[c->entry->input_count + number];
    if (!c->entry->outputs[number].is_weak) return owned(array);
    object *item = py.PyObject_GetAttr(array, known.item);  /* of Python numbers, a number */
    object *value = item == NULL ? NULL : py.PyObject_CallNoArgs(item);
    py.Py_DecRef(item);
    return value;
}

static object *leaves_of(call_t *c)
{
    if (c->list == NULL) c->list = list_of(c->leaves, c->entry->leaf_count);
    return c->list;
}

/* The result by `finish` in Python, which attaches a graph. */
static object *finished(call_t *c)
{
    const index_t count = c->entry->output_count;
    object *outputs[count + 1], *result = NULL;
    index_t made = 0;
    while (made < count && (outputs[made] = output_of(c, made)) != NULL) made++;
    object *leaves = leaves_of(c), *list = made == count ? list_of(outputs, count) : NULL;
    object *found[c->entry->result_count + 1];
    index_t given = 0;
    for (index_t i = 0; i < c->entry->result_count; i++)
        if (c->given[i] != NULL) found[given++] = c->given[i];
    object *others = list_of(found, given), *arguments[] = {leaves, list, others};
    if (leaves != NULL && list != NULL && others != NULL)
        result = py.PyObject_Vectorcall(c->entry->finish, arguments, 3, NULL);
    py.Py_DecRef(others);
    py.Py_DecRef(list);
    while (made > 0) py.Py_DecRef(outputs[--made]);
    return result;
}

static object *result(call_t *c)
{
    const entry_t *e = c->entry;
    if (e->finish != NULL) return finished(c);
    object *results[e->result_count + 1], *built;
    index_t made = 0;
    for (; made < e->result_count; made++) {
        const result_t *one = &e->results[made];
        object *found = one->what == GIVEN ? owned(c->given[made]) : output_of(c, one->output);
        if (one->what == NEW_TENSOR && found != NULL) {
            object *array = found;
            found = new_tensor(array);
            py.Py_DecRef(array);
        }
        if (found == NULL) break;
        results[made] = found;
    }
    if (made < e->result_count)
        built = NULL;
    else
        built = e->build == NULL ? owned(results[0])
                                 : py.PyObject_Vectorcall(e->build, results, made, NULL);
    while (made > 0) py.Py_DecRef(results[--made]);
    return built;
}

/* The rest of a call in Python, where an array is not as the program expects. */
static object *rest(call_t *c)
{
    object *leaves = leaves_of(c), *inputs = list_of(c->items, c->entry->input_count);
    object *arguments[] = {leaves, inputs}, *found = NULL;
    if (leaves != NULL && inputs != NULL)
        found = py.PyObject_Vectorcall(c->entry->rest, arguments, 2, NULL);
    py.Py_DecRef(inputs);
    return found;
}

/* After an error: put back what the call has counted. A stale program is no error. */
static object *failed(const call_t *c)
{
    const entry_t *e = c->entry;
    object *type = NULL, *value = NULL, *trace = NULL;
    const int is_stale = !c->has_run
        && (!py.PyErr_Occurred() || py.PyErr_ExceptionMatches(known.stale));
    py.PyErr_Fetch(&type, &value, &trace);
    object *done = py.PyObject_CallNoArgs(e->undo);
    py.Py_DecRef(done);
    if (!is_stale)
        py.PyErr_Restore(type, value, trace);
    else {
        py.Py_DecRef(type);
        py.Py_DecRef(value);
        py.Py_DecRef(trace);
    }
    return done != NULL && is_stale ? owned(known.missed) : NULL;
}

static object *called(call_t *c)
{
    const entry_t *e = c->entry;
    object *found = NULL;
    int state = begin(c) ? prepare(c) : FAILED;
    if (state == READY && run(c) != 0) state = UNUSUAL;
    give_back(c);
    if (state == UNUSUAL) {
        found = rest(c);
        if (found != NULL && e->last != NULL) remember_places(c);
    } else if (state == READY) {
        c->has_run = 1;
        found = store(c) ? result(c) : NULL;
    }
    return found == NULL ? failed(c) : found;
}

static object *locked(call_t *c)
{
    const entry_t *e = c->entry;
    if (e->acquire == NULL) return called(c);
    object *got = call_with(e->acquire, known.no);
    if (got == NULL) return NULL;
    py.Py_DecRef(got);
    if (got != known.yes) return owned(known.missed);  /* the call in Python waits */
    object *found = called(c);
    object *type = NULL, *value = NULL, *trace = NULL;
    if (found == NULL) py.PyErr_Fetch(&type, &value, &trace);
    py.Py_DecRef(py.PyObject_CallNoArgs(e->release));
    if (found == NULL) py.PyErr_Restore(type, value, trace);
    return found;
}

static void release(object **items, index_t count)
{
    while (count > 0) py.Py_DecRef(items[--count]);
}

/* ---------------------------------------------------------------- for call.py */

/* The built-in function: `self` is a tuple that begins with the address of an entry; the arguments
   are those of the call, as a tuple and a dict. */
object *gpugrad_call(object *self, object *const *arguments, index_t count)
{
    const entry_t *e = py.PyLong_AsVoidPtr(py.PyTuple_GetItem(self, 0));
    const index_t size = e->input_count + e->output_count + 1;
    object *leaves[e->leaf_count + 1], *items[size], **next = leaves;
    object *targets[e->write_count + 1], *values[e->write_count + 1];
    object *given[e->result_count + 1], *taken[e->write_count + 1];
    call_t c = {e, leaves, NULL, items, targets, values, given, taken, 0};
    (void)count;
    if (!modes_hold(e) || !flatten(&e->arguments[0], arguments[0], &next)
        || !flatten(&e->arguments[1], arguments[1], &next) || !holds(&c)) {
        py.PyErr_Clear();
        return owned(known.missed);
    }
    memset(items, 0, sizeof items);
    memset(targets, 0, sizeof targets);
    memset(values, 0, sizeof values);
    memset(given, 0, sizeof given);
    memset(taken, 0, sizeof taken);
    for (index_t i = 0; i < e->leaf_count; i++) py.Py_IncRef(leaves[i]);
    object *found = locked(&c);
    release(items, size);
    release(targets, e->write_count);
    release(values, e->write_count);
    release(given, e->result_count);
    release(taken, e->write_count);
    release(leaves, e->leaf_count);
    py.Py_DecRef(c.list);
    return found;
}

void gpugrad_connect(void **functions, void **facts)
{
    memcpy(&py, functions, sizeof py);
    memcpy(&known, facts, sizeof known);
}
