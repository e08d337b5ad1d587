#include <stdio.h>
#include "__NAME__.h"

int main(void) {
__ARRAYS__
    __NAME___model_t *model = NULL;
    __NAME___session_t *session = NULL;
    int status = __NAME___load(NULL, &model);
    if (status == __MACROS___OK) status = __NAME___session(model, 1, &session);
    if (status == __MACROS___OK) status = __NAME___run(session__ARGUMENTS__);
    if (status == __MACROS___OK) printf("%g\n", __FIRST__[0]);
    else fprintf(stderr, "%s\n", __NAME___last_error());
    __NAME___session_free(session);
    __NAME___free(model);
    return status;
}
