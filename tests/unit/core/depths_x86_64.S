// Functions that keep a frame by rbp, as compilers lay them out, and some as nobody does. Each
// has a label behind the call that is asked about: <name>Return. None is ever run.
        .text

        .macro  FUNCTION name
        .globl  \name
        .type   \name, @function
\name:
        .cfi_startproc
        .endm
        .macro  FRAME name
        FUNCTION \name
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register 6
        .endm
        .macro  WAITS name
        call    DepthNothing
        .globl  \name\()Return
\name\()Return:
        .endm
        .macro  RETURNS
        leave
        .cfi_def_cfa 7, 8
        ret
        .endm
        .macro  DONE name
        .cfi_endproc
        .size   \name, .-\name
        .endm

        FUNCTION DepthNothing
        ret
        DONE    DepthNothing

// Begins with a jump over words, as a sanitizer writes it.
        FUNCTION DepthPlain
        jmp     1f
        .long   0x06060606
1:      push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register 6
        push    %r15
        mov     %rdi, %r15
        push    %rbx
        sub     $0x40, %rsp
        WAITS   DepthPlain
        RETURNS
        DONE    DepthPlain

// Words for a call, some of them pushed, before and behind a jump.
        FRAME   DepthPushed
        sub     $0x10, %rsp
        test    %edi, %edi
        je      1f
        sub     $8, %rsp
        push    $7
        push    %rax
        pushq   8(%rbp)
        WAITS   DepthPushed
        add     $0x20, %rsp
1:      WAITS   DepthPopped
        RETURNS
        DONE    DepthPushed

// Two ways out; behind the first one the frame is there again.
        FRAME   DepthTwoWays
        push    %rbx
        lea     -0x1008(%rsp), %rsp
        test    %edi, %edi
        jne     1f
        lea     -8(%rbp), %rsp
        pop     %rbx
        pop     %rbp
        .cfi_remember_state
        .cfi_def_cfa 7, 8
        ret
1:      .cfi_restore_state
        WAITS   DepthTwoWays
        RETURNS
        DONE    DepthTwoWays

// The frame is made late, on one of two ways.
        FUNCTION DepthLate
        test    %edi, %edi
        je      1f
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register 6
        sub     $0x20, %rsp
        WAITS   DepthLate
        leave
        .cfi_restore 6
        .cfi_def_cfa 7, 8
        ret
1:      ret
        DONE    DepthLate

// Stack of a size that is computed: behind the call, but a loop leads back.
        FRAME   DepthComputed
        sub     $0x10, %rsp
1:      WAITS   DepthComputed
        sub     %rax, %rsp
        jne     1b
        RETURNS
        DONE    DepthComputed

        FRAME   DepthRealigned
        and     $-32, %rsp
        sub     $0x40, %rsp
        WAITS   DepthRealigned
        RETURNS
        DONE    DepthRealigned

// Page by page.
        FRAME   DepthProbed
        lea     -0x8000(%rsp), %r11
1:      sub     $0x1000, %rsp
        orq     $0, (%rsp)
        cmp     %r11, %rsp
        jne     1b
        WAITS   DepthProbed
        RETURNS
        DONE    DepthProbed

// A jump that does not go from where the first one does.
        FRAME   DepthUneven
        test    %edi, %edi
        je      1f
        push    %rax
        jmp     1f
1:      WAITS   DepthUneven
        RETURNS
        DONE    DepthUneven

// The part of a function that is laid elsewhere.
        FUNCTION DepthElsewhere
        .cfi_def_cfa 6, 16
        .cfi_offset 6, -16
        WAITS   DepthElsewhere
        ud2
        DONE    DepthElsewhere

// An instruction that does not exist in 64-bit code.
        FRAME   DepthNotCode
        WAITS   DepthNotCode
        jmp     1f
        .byte   0x06
1:      RETURNS
        DONE    DepthNotCode

// Who calls DepthPlain, or does not. Frames of 16 bytes without rbp.
        .macro  CALLER name, instruction:vararg
        FUNCTION \name
        sub     $8, %rsp
        .cfi_def_cfa_offset 16
        \instruction
        .globl  \name\()Return
\name\()Return:
        add     $8, %rsp
        .cfi_def_cfa_offset 8
        ret
        DONE    \name
        .endm
        CALLER  CallsPlain, call DepthPlain
        CALLER  CallsByWord, call *1f(%rip)
        CALLER  CallsStub, call 2f
        CALLER  CallsOther, call DepthNothing
        CALLER  CallsAnything, call *%rdi
        CALLER  CallsTail, call JumpsAway

        FUNCTION JumpsAway
        test    %edi, %edi
        jne     DepthPlain
        ret
        DONE    JumpsAway

2:      endbr64
        bnd jmp *1f(%rip)

        .section .data.rel.local, "aw"
        .balign 8
1:      .quad   DepthPlain
        .section .note.GNU-stack, "", @progbits
