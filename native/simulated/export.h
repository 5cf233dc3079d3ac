/* What a simulated vendor library shows of itself; everything else is hidden. */
#ifndef AICALIB_SIMULATED_EXPORT_H
#define AICALIB_SIMULATED_EXPORT_H

#define EXPORT __attribute__((visibility("default")))
#define ALIAS(name) __attribute__((visibility("default"), alias(#name)))

/* Every library has the symbol by which a program in the same process tells it the page: `_use(path)`, NULL = forget. */
#define DEFINE_USE                                  \
    EXPORT void aicalib_simulated_use(const char *path) \
    {                                               \
        node_use(path);                             \
    }

#endif
