/* Writes X(0) X(1) ... so that each accumulator is a variable with a name: as an array, some compilers spill them. */
#ifndef AICALIB_REPEAT_H
#define AICALIB_REPEAT_H

#define AICALIB_REPEAT_8(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define AICALIB_REPEAT_12(X) AICALIB_REPEAT_8(X) X(8) X(9) X(10) X(11)
#define AICALIB_REPEAT_16(X) AICALIB_REPEAT_12(X) X(12) X(13) X(14) X(15)
#define AICALIB_REPEAT_24(X) AICALIB_REPEAT_16(X) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23)

#endif
