/* op_attention.h - where the operands of attention stand: read by the rules
 * (op_attention.c) and by the kernels. */
#ifndef GENET_GRAPH_OP_ATTENTION_H
#define GENET_GRAPH_OP_ATTENTION_H

/* Inputs of attention; from BIAS on they may be NULL. */
enum att_in {
    ATT_Q, ATT_K, ATT_V,
    ATT_BIAS,           /* (1|B, 1|H, T, S) */
    ATT_Q_LENGTHS, ATT_K_LENGTHS, ATT_POSITION,     /* i32 (B) */
    ATT_ROWS,           /* i32 (B, S) */
    ATT_RNG,            /* i32 (4) */
    ATT_N_IN
};
/* Inputs of attention_grad.  Queries beyond their length need no input: their
 * log-sum-exp is -inf, as for any row that sees nothing. */
enum att_grad_in {
    ATTG_Q, ATTG_K, ATTG_V, ATTG_BIAS, ATTG_K_LENGTHS, ATTG_POSITION, ATTG_RNG,
    ATTG_Y, ATTG_LSE, ATTG_G,
    ATTG_N_IN
};
/* Results of attention_grad: main dq, then these sides. */
enum att_grad_out { ATTG_DQ, ATTG_DK, ATTG_DV, ATTG_DBIAS, ATTG_N_OUT };

/* attr.f */
enum att_f { ATT_SCALE, ATT_SOFTCAP, ATT_DROPOUT };
/* attr.i */
enum att_i { ATT_CAUSAL, ATT_WINDOW, ATT_STREAM = 15 };

/* Larger heads would not fit the kernels' local memory. */
enum { ATT_MAX_HEAD = 1024 };
#endif
