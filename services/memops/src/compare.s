// memcmp(r0, r1 = ranges, r2 = length) -> r0 = 0, or negative or positive as the first byte that differs,
//     taken as unsigned, is smaller or larger in the first range. bcmp: the same.
    .syntax unified
    .arm

    .section .text.memcmp, "ax", %progbits
    .p2align 2
    .global memcmp
    .global bcmp
    .type memcmp, %function
    .type bcmp, %function
memcmp:
bcmp:
    eor     r3, r0, r1
    tst     r3, #3
    bne     4f
1:  tst     r0, #3                  // bytes up to a word boundary of both
    beq     2f
    subs    r2, r2, #1
    blo     6f
    ldrb    r3, [r0], #1
    ldrb    r12, [r1], #1
    subs    r3, r3, r12
    beq     1b
    mov     r0, r3
    bx      lr
2:  subs    r2, r2, #4
    blo     3f
    ldr     r3, [r0], #4
    ldr     r12, [r1], #4
    cmp     r3, r12
    beq     2b
    rev     r3, r3                  // the first byte in memory weighs most
    rev     r12, r12
    cmp     r3, r12
    movhi   r0, #1
    mvnlo   r0, #0
    bx      lr
3:  add     r2, r2, #4
4:  subs    r2, r2, #1
    blo     6f
    ldrb    r3, [r0], #1
    ldrb    r12, [r1], #1
    subs    r3, r3, r12
    beq     4b
    mov     r0, r3
    bx      lr
6:  mov     r0, #0
    bx      lr
    .size memcmp, . - memcmp
