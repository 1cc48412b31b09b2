#ifndef {{ upper }}_SELF_TEST_H
#define {{ upper }}_SELF_TEST_H

#ifdef __cplusplus
extern "C" {
#endif

/* Returns how many of the golden outputs differ: 0 on a port that works. */
int {{ name }}_self_test(void);

#ifdef __cplusplus
}
#endif

#endif
