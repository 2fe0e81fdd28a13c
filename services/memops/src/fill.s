// memset(r0 = destination, r1 = byte, r2 = length) -> r0 = destination
// __aeabi_memset(r0 = destination, r1 = length, r2 = byte)
// __aeabi_memclr(r0 = destination, r1 = length)
//
// Bytes up to a word boundary, then 128 and 32 bytes a step, then 16, 8, 4, 2, 1.
    .syntax unified
    .arm

    .section .text.memset, "ax", %progbits
    .p2align 2
    .global memset
    .global __aeabi_memset
    .global __aeabi_memset4
    .global __aeabi_memset8
    .global __aeabi_memclr
    .global __aeabi_memclr4
    .global __aeabi_memclr8
    .type memset, %function
    .type __aeabi_memset, %function
    .type __aeabi_memset4, %function
    .type __aeabi_memset8, %function
    .type __aeabi_memclr, %function
    .type __aeabi_memclr4, %function
    .type __aeabi_memclr8, %function
__aeabi_memclr:
__aeabi_memclr4:
__aeabi_memclr8:
    mov     r2, #0
__aeabi_memset:
__aeabi_memset4:
__aeabi_memset8:
    mov     r3, r1
    mov     r1, r2
    mov     r2, r3
memset:
    mov     r12, r0                 // r12 runs, r0 is the result
    and     r1, r1, #0xff
    orr     r1, r1, r1, lsl #8
    orr     r1, r1, r1, lsl #16
    cmp     r2, #4
    blo     7f
1:  tst     r12, #3
    beq     2f
    strb    r1, [r12], #1
    sub     r2, r2, #1
    b       1b
2:  mov     r3, r1
    subs    r2, r2, #32
    blo     6f
    push    {r4-r9}
    mov     r4, r1
    mov     r5, r1
    mov     r6, r1
    mov     r7, r1
    mov     r8, r1
    mov     r9, r1
    subs    r2, r2, #96             // r2 = left - 128
    blo     4f
3:  stm     r12!, {r1, r3-r9}
    stm     r12!, {r1, r3-r9}
    stm     r12!, {r1, r3-r9}
    stm     r12!, {r1, r3-r9}
    subs    r2, r2, #128
    bhs     3b
4:  adds    r2, r2, #96             // r2 = left - 32, left < 128
    bmi     5f
41: stm     r12!, {r1, r3-r9}
    subs    r2, r2, #32
    bpl     41b
5:  pop     {r4-r9}
    tst     r2, #31
    bxeq    lr
    // r2 = left - 32, left < 32: the low five bits are those of left.
6:  tst     r2, #16
    stmne   r12!, {r1, r3}
    stmne   r12!, {r1, r3}
    tst     r2, #8
    stmne   r12!, {r1, r3}
    tst     r2, #4
    strne   r1, [r12], #4
    tst     r2, #3
    bxeq    lr
7:  tst     r2, #2
    strbne  r1, [r12], #1
    strbne  r1, [r12], #1
    tst     r2, #1
    strbne  r1, [r12], #1
    bx      lr
    .size memset, . - memset
