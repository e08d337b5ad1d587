#include "__NAME__.h"

static unsigned char memory[__MACROS___LENT_BYTES];

int infer(void) {
__ARRAYS__
    __NAME___lent_t *session = NULL;
    int status = __NAME___lent(memory, sizeof memory, NULL, &session);
    if (status == __MACROS___OK) status = __NAME___lent_run(session__ARGUMENTS__);
    return status;
}
