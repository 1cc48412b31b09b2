#ifndef @UPPER@_SELF_TEST_H
#define @UPPER@_SELF_TEST_H

#ifdef __cplusplus
extern "C" {
#endif

/* Returns how many of the golden outputs differ: 0 on a port that works. */
int @NAME@_self_test(void);

#ifdef __cplusplus
}
#endif

#endif
