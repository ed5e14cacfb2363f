// Functions whose unwind rows compilers rarely or never write, each right: every one calls the
// function that it is given and returns. Register 3 is rbx, 6 rbp, 7 rsp, 12 r12, 16 rip.
        .text

// CFA by rbx, as in the dynamic linker's lazy binding.
        .globl  OddCfaByRbx
        .type   OddCfaByRbx, @function
OddCfaByRbx:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset 3, -16
        mov     %rsp, %rbx
        .cfi_def_cfa_register 3
        sub     $64, %rsp
        and     $-64, %rsp
        call    *%rdi
        mov     %rbx, %rsp
        .cfi_def_cfa_register 7
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddCfaByRbx, .-OddCfaByRbx

// CFA by r12, which it also has to find again below.
        .globl  OddCfaByR12
        .type   OddCfaByR12, @function
OddCfaByR12:
        .cfi_startproc
        push    %r12
        .cfi_def_cfa_offset 16
        .cfi_offset 12, -16
        lea     16(%rsp), %r12
        .cfi_def_cfa 12, 0
        sub     $32, %rsp
        call    *%rdi
        add     $32, %rsp
        .cfi_def_cfa 7, 16
        pop     %r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddCfaByR12, .-OddCfaByR12

// Changes rbx, in between of a function that needs it and the one that asks.
        .globl  OddSavesRbx
        .type   OddSavesRbx, @function
OddSavesRbx:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset 3, -16
        mov     $12345, %ebx
        call    *%rdi
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddSavesRbx, .-OddSavesRbx

// CFA by an expression: *(rsp + 16) + 8 (DW_OP_breg7 16, deref, plus_uconst 8).
        .globl  OddCfaByExpression
        .type   OddCfaByExpression, @function
OddCfaByExpression:
        .cfi_startproc
        mov     %rsp, %rax
        sub     $24, %rsp
        .cfi_def_cfa_offset 32
        mov     %rax, 16(%rsp)
        .cfi_escape 0x0f, 5, 0x77, 16, 0x06, 0x23, 8
        call    *%rdi
        add     $24, %rsp
        .cfi_def_cfa 7, 8
        ret
        .cfi_endproc
        .size   OddCfaByExpression, .-OddCfaByExpression

// rbp saved where an expression says (DW_CFA_expression 6: breg7 0), then used for data.
        .globl  OddFrameByExpression
        .type   OddFrameByExpression, @function
OddFrameByExpression:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_escape 0x10, 6, 2, 0x77, 0
        mov     $1, %ebp
        call    *%rdi
        pop     %rbp
        .cfi_def_cfa_offset 8
        .cfi_same_value 6
        ret
        .cfi_endproc
        .size   OddFrameByExpression, .-OddFrameByExpression

// rbp kept in r12 (DW_CFA_register): nothing a walk by three registers can know. What calls this
// has a frame by rsp, so that the walk goes on all the same.
        .globl  OddFrameInRegister
        .type   OddFrameInRegister, @function
OddFrameInRegister:
        .cfi_startproc
        push    %r12
        .cfi_def_cfa_offset 16
        .cfi_offset 12, -16
        mov     %rbp, %r12
        .cfi_register 6, 12
        mov     $1, %ebp
        call    *%rdi
        mov     %r12, %rbp
        .cfi_same_value 6
        pop     %r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddFrameInRegister, .-OddFrameInRegister

// Remembered and restored states, around an early return.
        .globl  OddRememberedState
        .type   OddRememberedState, @function
OddRememberedState:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        push    %rbx
        .cfi_def_cfa_offset 24
        .cfi_offset 3, -24
        sub     $8, %rsp
        .cfi_def_cfa_offset 32
        test    %rdi, %rdi
        jne     1f
        .cfi_remember_state
        add     $8, %rsp
        .cfi_def_cfa_offset 24
        pop     %rbx
        .cfi_restore 3
        .cfi_def_cfa_offset 16
        pop     %rbp
        .cfi_restore 6
        .cfi_def_cfa_offset 8
        ret
1:
        .cfi_restore_state
        xor     %ebp, %ebp
        call    *%rdi
        add     $8, %rsp
        .cfi_def_cfa_offset 24
        pop     %rbx
        .cfi_restore 3
        .cfi_def_cfa_offset 16
        pop     %rbp
        .cfi_restore 6
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddRememberedState, .-OddRememberedState

// A frame of 1 MiB, more than 16 bits of offset, and rbp more than 32 KiB from the CFA.
        .globl  OddHugeFrame
        .type   OddHugeFrame, @function
OddHugeFrame:
        .cfi_startproc
        sub     $0x100008, %rsp
        .cfi_def_cfa_offset 0x100010
        mov     %rbp, (%rsp)
        .cfi_offset 6, -0x100010
        xor     %ebp, %ebp
        call    *%rdi
        mov     (%rsp), %rbp
        .cfi_same_value 6
        add     $0x100008, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddHugeFrame, .-OddHugeFrame

// Arguments pushed while a frame is by rsp, with DW_CFA_GNU_args_size, and signed offsets
// (DW_CFA_def_cfa_sf 7, 32 / -8; offset_extended_sf 6, -16 / -8).
        .globl  OddPushedArguments
        .type   OddPushedArguments, @function
OddPushedArguments:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_escape 0x11, 6, 2
        push    $1
        .cfi_adjust_cfa_offset 8
        push    $2
        .cfi_escape 0x12, 7, 0x7c
        .cfi_escape 0x2e, 16
        xor     %ebp, %ebp
        call    *%rdi
        add     $16, %rsp
        .cfi_def_cfa 7, 16
        pop     %rbp
        .cfi_same_value 6
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddPushedArguments, .-OddPushedArguments

// A call that does not return, as the last instruction: the return address is the next
// function's, whose first row is another.
        .globl  OddCallAtTheEnd
        .type   OddCallAtTheEnd, @function
OddCallAtTheEnd:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset 3, -16
        sub     $32, %rsp
        .cfi_def_cfa_offset 48
        call    *%rdi
        .cfi_endproc
        .size   OddCallAtTheEnd, .-OddCallAtTheEnd
        .globl  OddBehindIt
        .type   OddBehindIt, @function
OddBehindIt:
        .cfi_startproc
        add     $32, %rsp
        .cfi_def_cfa_offset 16
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddBehindIt, .-OddBehindIt

// rbp saved where an expression on the CFA says: CFA - 16 (DW_CFA_expression 6: lit16, minus).
        .globl  OddFrameByExpressionOnCfa
        .type   OddFrameByExpressionOnCfa, @function
OddFrameByExpressionOnCfa:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_escape 0x10, 6, 2, 0x40, 0x1c
        mov     $1, %ebp
        call    *%rdi
        pop     %rbp
        .cfi_def_cfa_offset 8
        .cfi_same_value 6
        ret
        .cfi_endproc
        .size   OddFrameByExpressionOnCfa, .-OddFrameByExpressionOnCfa

// CFA by rbx, and rbp saved where an expression by rbx says: breg3 0.
        .globl  OddCfaAndFrameByRbx
        .type   OddCfaAndFrameByRbx, @function
OddCfaAndFrameByRbx:
        .cfi_startproc
        push    %rbx
        .cfi_def_cfa_offset 16
        .cfi_offset 3, -16
        push    %rbp
        .cfi_def_cfa_offset 24
        .cfi_offset 6, -24
        mov     %rsp, %rbx
        .cfi_def_cfa_register 3
        .cfi_escape 0x10, 6, 2, 0x73, 0
        mov     $1, %ebp
        sub     $40, %rsp
        call    *%rdi
        mov     %rbx, %rsp
        .cfi_def_cfa_register 7
        pop     %rbp
        .cfi_same_value 6
        .cfi_def_cfa_offset 16
        pop     %rbx
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddCfaAndFrameByRbx, .-OddCfaAndFrameByRbx

// Marked as a signal frame, but with an ordinary row.
        .globl  OddSignalFrame
        .type   OddSignalFrame, @function
OddSignalFrame:
        .cfi_startproc
        .cfi_signal_frame
        sub     $24, %rsp
        .cfi_def_cfa_offset 32
        nop
        call    *%rdi
        add     $24, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddSignalFrame, .-OddSignalFrame

// The return address kept in a register: a row, but none that can be followed.
        .globl  OddReturnInRegister
        .type   OddReturnInRegister, @function
OddReturnInRegister:
        .cfi_startproc
        push    %r12
        .cfi_def_cfa_offset 16
        .cfi_offset 12, -16
        mov     8(%rsp), %r12
        .cfi_register 16, 12
        call    *%rdi
        .cfi_offset 16, -8
        pop     %r12
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddReturnInRegister, .-OddReturnInRegister

// rbp = -8, and saved at rbp + 0: a load of the last eight bytes that there are.
        .globl  OddFrameAtTheEndOfMemory
        .type   OddFrameAtTheEndOfMemory, @function
OddFrameAtTheEndOfMemory:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        mov     $-8, %rbp
        .cfi_escape 0x10, 6, 2, 0x76, 0
        call    *%rdi
        pop     %rbp
        .cfi_same_value 6
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   OddFrameAtTheEndOfMemory, .-OddFrameAtTheEndOfMemory

// No rows and no frame pointer: a trap at its first instruction, and one after a push.
        .globl  OddNoRowsTraps
        .type   OddNoRowsTraps, @function
OddNoRowsTraps:
        int3
        push    %rbx
        int3
        pop     %rbx
        ret
        .size   OddNoRowsTraps, .-OddNoRowsTraps

// No rows, and rbp is data: the second argument.
        .globl  OddNoRowsDataInFrame
        .type   OddNoRowsDataInFrame, @function
OddNoRowsDataInFrame:
        push    %rbp
        mov     %rsi, %rbp
        call    *%rdi
        pop     %rbp
        ret
        .size   OddNoRowsDataInFrame, .-OddNoRowsDataInFrame

// An ordinary frame by its frame pointer: push (1 byte), mov (3 bytes), and there it is.
        .globl  OddFrameByFramePointer
        .type   OddFrameByFramePointer, @function
OddFrameByFramePointer:
        .cfi_startproc
        push    %rbp
        .cfi_def_cfa_offset 16
        .cfi_offset 6, -16
        mov     %rsp, %rbp
        .cfi_def_cfa_register 6
        pop     %rbp
        .cfi_def_cfa 7, 8
        ret
        .cfi_endproc
        .size   OddFrameByFramePointer, .-OddFrameByFramePointer

// No rows at all, but a frame pointer.
        .globl  OddNoRowsButFramePointer
        .type   OddNoRowsButFramePointer, @function
OddNoRowsButFramePointer:
        push    %rbp
        mov     %rsp, %rbp
        call    *%rdi
        pop     %rbp
        ret
        .size   OddNoRowsButFramePointer, .-OddNoRowsButFramePointer

// A leaf whose CFA is by rax, which no callee keeps: known only where it was interrupted.
        .globl  OddLeafByRax
        .type   OddLeafByRax, @function
OddLeafByRax:
        .cfi_startproc
        lea     8(%rsp), %rax
        .cfi_def_cfa 0, 0
        int3
        .cfi_def_cfa 7, 8
        ret
        .cfi_endproc
        .size   OddLeafByRax, .-OddLeafByRax

        .section .note.GNU-stack, "", @progbits
