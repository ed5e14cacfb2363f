// CallFromFrame(then): a frame of FRAME bytes around a call. Built twice, into two libraries that
// differ in nothing else and have no build id.
        .text
        .globl  CallFromFrame
        .type   CallFromFrame, @function
CallFromFrame:
        .cfi_startproc
        sub     $FRAME, %rsp
        .cfi_def_cfa_offset FRAME + 8
        call    *%rdi
        add     $FRAME, %rsp
        .cfi_def_cfa_offset 8
        ret
        .cfi_endproc
        .size   CallFromFrame, .-CallFromFrame
        .section .note.GNU-stack, "", @progbits
