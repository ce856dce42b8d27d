/* test_stories.c in double precision: against the float64 reference to all its digits. */
#include "tests/test_stories.c"
