/* Chains of dependent register-to-register instructions: their length is known in cycles, so timing one gives the clock.
 *
 * The chain runs among the multiply-adds and not after them, because a core that leaves wide vector work changes its
 * clock within two microseconds. It is the longer of the two, so it alone sets the time, while the vector units stay
 * nearly as busy as without it. Additions share no port with the vector units where these are 256 bits wide or the
 * processor is not Intel's; 512-bit work leaves the multiplier's port free, so there the links are multiplications.
 * Never with an immediate operand: recent Intel cores carry out chains of such additions faster than one a cycle. */
#ifndef AICALIB_CHAIN_H
#define AICALIB_CHAIN_H

#if defined(__x86_64__)
#define AICALIB_ADDITION_CYCLES 1
#define AICALIB_MULTIPLICATION_CYCLES 3
#define AICALIB_ADDITIONS(n, x, step)                                                                                 \
    __asm__ volatile(".rept %c2\n\tadd %1, %0\n\t.endr" : "+r"(x) : "r"(step), "i"(n) : "cc")
#define AICALIB_MULTIPLICATIONS(n, x, step)                                                                           \
    __asm__ volatile(".rept %c2\n\timul %k1, %k0\n\t.endr" : "+r"(x) : "r"(step), "i"(n) : "cc")
#elif defined(__aarch64__)
#define AICALIB_ADDITION_CYCLES 1
#define AICALIB_MULTIPLICATION_CYCLES 0 /* differs from core to core */
#define AICALIB_ADDITIONS(n, x, step)                                                                                 \
    __asm__ volatile(".rept %c2\n\tadd %0, %0, %1\n\t.endr" : "+r"(x) : "r"(step), "i"(n))
#define AICALIB_MULTIPLICATIONS(n, x, step) (void)0
#else
#define AICALIB_ADDITION_CYCLES 0
#define AICALIB_MULTIPLICATION_CYCLES 0
#define AICALIB_ADDITIONS(n, x, step) (void)0
#define AICALIB_MULTIPLICATIONS(n, x, step) (void)0
#endif

#endif
