/* work.h - what a plan would do, in numbers, for those who know nothing else of plans. */
#ifndef GENET_PLAN_WORK_H
#define GENET_PLAN_WORK_H
#include "genet/genet.h"

/* What the steps of a plan are made of, for an estimate of their time: products of matrices by kind, attention, elementwise
 * members around both (elements), and the bytes that steps move, by the size (its base-2 logarithm) of what each touches. */
enum { WORK_SIZES = 64 };
typedef struct plan_work {
    double  flops[GENET_ARITHMETIC_COUNT], attention_flops, members, bytes[WORK_SIZES];
    int64_t product[GENET_ARITHMETIC_COUNT][3];     /* M, N, K of the largest product of a kind; 0: there is none */
    int64_t attention[4];                           /* B, T, H, D */
} plan_work;
/* Add `times` runs of p. */
void genet__plan_work(const genet_plan *p, double times, plan_work *sum);
#endif
