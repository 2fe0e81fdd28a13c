// memcpy(r0 = destination, r1 = source, r2 = length) -> r0 = destination; the ranges do not overlap,
//     or the destination begins below the source (all copying runs upwards, and no word is written before
//     all words at or below its address were read).
// memmove(r0 = destination, r1 = source, r2 = length) -> r0 = destination; the ranges may overlap.
// __aeabi_memcpy, __aeabi_memmove: the same, the result is not defined.
    .syntax unified
    .arm

    .section .text.memcpy, "ax", %progbits
    .p2align 2
    .global memmove
    .global __aeabi_memmove
    .global __aeabi_memmove4
    .global __aeabi_memmove8
    .type memmove, %function
    .type __aeabi_memmove, %function
    .type __aeabi_memmove4, %function
    .type __aeabi_memmove8, %function
memmove:
__aeabi_memmove:
__aeabi_memmove4:
__aeabi_memmove8:
    sub     r3, r0, r1
    cmp     r3, r2
    blo     .Ldownwards             // source <= destination < source + length
    .size memmove, . - memmove

    .global memcpy
    .global __aeabi_memcpy
    .global __aeabi_memcpy4
    .global __aeabi_memcpy8
    .type memcpy, %function
    .type __aeabi_memcpy, %function
    .type __aeabi_memcpy4, %function
    .type __aeabi_memcpy8, %function
memcpy:
__aeabi_memcpy:
__aeabi_memcpy4:
__aeabi_memcpy8:
    push    {r0, lr}
    mov     r12, r0                 // r12 runs, r0 is free
    cmp     r2, #4
    blo     .Lbytes
1:  tst     r12, #3                 // bytes up to a word boundary of the destination
    beq     2f
    ldrb    r3, [r1], #1
    strb    r3, [r12], #1
    sub     r2, r2, #1
    b       1b
2:  ands    r3, r1, #3
    bne     .Lshifted
    subs    r2, r2, #32
    blo     6f
    push    {r4-r8}
    subs    r2, r2, #96             // r2 = left - 128
    blo     4f
3:  ldm     r1!, {r0, r3-r8, lr}
    stm     r12!, {r0, r3-r8, lr}
    ldm     r1!, {r0, r3-r8, lr}
    stm     r12!, {r0, r3-r8, lr}
    ldm     r1!, {r0, r3-r8, lr}
    stm     r12!, {r0, r3-r8, lr}
    ldm     r1!, {r0, r3-r8, lr}
    stm     r12!, {r0, r3-r8, lr}
    subs    r2, r2, #128
    bhs     3b
4:  adds    r2, r2, #96             // r2 = left - 32, left < 128
    bmi     5f
41: ldm     r1!, {r0, r3-r8, lr}
    stm     r12!, {r0, r3-r8, lr}
    subs    r2, r2, #32
    bpl     41b
5:  pop     {r4-r8}
    tst     r2, #31
    popeq   {r0, pc}
    // r2 = left - 32, left < 32: the low five bits are those of left.
6:  tst     r2, #16
    ldmne   r1!, {r0, r3}
    stmne   r12!, {r0, r3}
    ldmne   r1!, {r0, r3}
    stmne   r12!, {r0, r3}
    tst     r2, #8
    ldmne   r1!, {r0, r3}
    stmne   r12!, {r0, r3}
    tst     r2, #4
    ldrne   r3, [r1], #4
    strne   r3, [r12], #4
    tst     r2, #3
    popeq   {r0, pc}
.Lbytes:
    tst     r2, #2
    ldrbne  r0, [r1], #1
    ldrbne  r3, [r1], #1
    strbne  r0, [r12], #1
    strbne  r3, [r12], #1
    tst     r2, #1
    ldrbne  r3, [r1]
    strbne  r3, [r12]
    pop     {r0, pc}

// The source is r3 = 1 to 3 bytes behind a word boundary, the destination on one. Only words that hold at
// least one byte of the source are read: each word of the destination needs bytes of two of them.
.Lshifted:
    cmp     r2, #4
    blo     .Lshifted_bytes         // at most three bytes: no whole word
    bic     r1, r1, #3
    ldr     lr, [r1], #4
    push    {r3, r4-r7}
    cmp     r3, #2
    beq     .Lby2
    bhi     .Lby3

    .macro  shifted bytes
    lsr     lr, lr, #8 * \bytes
    subs    r2, r2, #16
    blo     2f
1:  ldm     r1!, {r4-r7}
    orr     r3, lr, r4, lsl #32 - 8 * \bytes
    lsr     r4, r4, #8 * \bytes
    orr     r4, r4, r5, lsl #32 - 8 * \bytes
    lsr     r5, r5, #8 * \bytes
    orr     r5, r5, r6, lsl #32 - 8 * \bytes
    lsr     r6, r6, #8 * \bytes
    orr     r6, r6, r7, lsl #32 - 8 * \bytes
    stm     r12!, {r3-r6}
    lsr     lr, r7, #8 * \bytes
    subs    r2, r2, #16
    bhs     1b
2:  adds    r2, r2, #12             // r2 = left - 4, left < 16
    bmi     .Lshifted_end
3:  ldr     r4, [r1], #4
    orr     r3, lr, r4, lsl #32 - 8 * \bytes
    str     r3, [r12], #4
    lsr     lr, r4, #8 * \bytes
    subs    r2, r2, #4
    bpl     3b
    b       .Lshifted_end
    .endm

    shifted 1
.Lby2:
    shifted 2
.Lby3:
    shifted 3
.Lshifted_end:
    // r2 = left - 4, left < 4: the low two bits are those of left. r1 is a word further than the source.
    pop     {r3, r4-r7}
    sub     r1, r1, #4
    add     r1, r1, r3
.Lshifted_bytes:
    b       .Lbytes
    .size memcpy, . - memcpy

// memmove from the end: words by eight where both ranges can be aligned, else bytes.
.Ldownwards:
    push    {r0, lr}
    add     r12, r0, r2
    add     r1, r1, r2
    cmp     r2, #4
    blo     8f
    tst     r3, #3                  // r3 = destination - source
    bne     8f
1:  tst     r12, #3
    beq     2f
    ldrb    r3, [r1, #-1]!
    strb    r3, [r12, #-1]!
    sub     r2, r2, #1
    b       1b
2:  subs    r2, r2, #32
    blo     6f
    push    {r4-r8}
3:  ldmdb   r1!, {r0, r3-r8, lr}
    stmdb   r12!, {r0, r3-r8, lr}
    subs    r2, r2, #32
    bhs     3b
    pop     {r4-r8}
6:  adds    r2, r2, #28             // r2 = left - 4, left < 32
    bmi     7f
61: ldr     r3, [r1, #-4]!
    str     r3, [r12, #-4]!
    subs    r2, r2, #4
    bpl     61b
7:  add     r2, r2, #4
8:  subs    r2, r2, #1
    ldrbhs  r3, [r1, #-1]!
    strbhs  r3, [r12, #-1]!
    bhi     8b
    pop     {r0, pc}
