// audit - for LD_AUDIT: watches every object's symbols, and changes nothing.

#include <link.h>

__attribute__((visibility("default"))) unsigned la_version(unsigned version)
{
    return version;
}

__attribute__((visibility("default"))) unsigned la_objopen(struct link_map *map, Lmid_t id,
                                                           uintptr_t *cookie)
{
    (void)map, (void)id, (void)cookie;
    return LA_FLG_BINDTO | LA_FLG_BINDFROM;
}
