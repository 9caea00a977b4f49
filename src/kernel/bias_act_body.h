/*
 * bias_act_body.h - the body of every ISA's bias_act kernel; method and errors: bias_act.h
 *
 * An ISA's bias_act_<isa>.c includes its vec_<isa>.h, then this file.
 */
#include "kernel/kernel.h"

/* Adding it rounds to an integer, which then stands in the last bits. */
#define ACT_ROUND 0x1.8p23f

/* Tails are computed times 2^64, so that they are not rounded as denormals half-way. */
#define ACT_RAISED    0x1p64f
#define ACT_UNRAISED  0x1p-64f
#define ACT_RAISED_BY 64

/* Horner's rule, coefficients from the highest power down. */
VEC_FN vec
polynomial(vec x, const float *coefficient, const int count)
{
    vec sum = vec_set(coefficient[0]);

    DK_UNROLL
    for (int i = 1; i < count; i++)
        sum = vec_fma(sum, x, vec_set(coefficient[i]));
    return sum;
}

/*
 * e^-(u v) = *power * (1 - result) * 2^-raise, for u v in [0, 120], which is not rounded before
 * it is raised. *power is 2^(n + raise), |result| below 0.42.
 */
VEC_FN vec
exp_parts(vec u, vec v, const unsigned raise, vec *power)
{
    /* (e^r - 1 - r) / r^2 on |r| <= 0.347, for r = -s. */
    static const float coefficient[] = {0x1.6a452cp-10f, -0x1.1239aap-7f, 0x1.5558b8p-5f,
                                        -0x1.555492p-3f, 0x1.fffffcp-2f};
    const vec minus_log2_e = vec_set(-0x1.715476p0f);
    const vec shifted = vec_fma(vec_mul(u, minus_log2_e), v, vec_set(ACT_ROUND));
    const vec n = vec_sub(shifted, vec_set(ACT_ROUND));
    /* ln 2 in 15 bits, so that n times it is exact, and the rest. */
    vec s = vec_fma(u, v, vec_mul(n, vec_set(0x1.62e4p-1f)));
    s = vec_fma(n, vec_set(0x1.7f7d1cp-20f), s);
    *power = vec_shift_to_power(shifted, (127u + raise) << 23);
    return vec_fnma(vec_mul(s, s), polynomial(s, coefficient, 5), s);
}

/* e^-(u v) times 2^64. */
VEC_FN vec
raised_exp(vec u, vec v)
{
    vec power;
    const vec rest = exp_parts(u, v, ACT_RAISED_BY, &power);

    return vec_fnma(power, rest, power);
}

/* x F(x), from a tail(a) raised. */
VEC_FN vec
without_tail(vec x, vec raised_tail)
{
    return vec_fma(raised_tail, vec_set(-ACT_UNRAISED), vec_larger(vec_set(0), x));
}

VEC_FN vec
gelu(vec x)
{
    static const float coefficient[] = {
        -0x1.0a2796p-18f, 0x1.f26edep-16f, -0x1.c8c82ep-15f, 0x1.3c4494p-16f, -0x1.840010p-12f,
        -0x1.4168f2p-13f, 0x1.b2be6ap-8f,  0x1.375796p-6f,   -0x1.abe9dcp-3f, 0.5f};
    const vec a = vec_smaller(vec_set(14.5f), vec_abs(x));
    const vec exp = raised_exp(vec_mul(a, vec_set(0.5f)), a);
    const vec t = vec_div(a, vec_fma(a, vec_set(0.38f), vec_set(1)));

    return without_tail(x, vec_mul(exp, vec_mul(t, polynomial(t, coefficient, 10))));
}

/* x / (1 + e^-y) where y has the sign of x and |y| = a v; a is |x|, or where that stops. */
VEC_FN vec
times_logistic(vec x, vec a, vec v)
{
    const vec exp = raised_exp(a, v);
    const vec divisor = vec_fma(exp, vec_set(ACT_UNRAISED), vec_set(1));

    return without_tail(x, vec_div(vec_mul(a, exp), divisor));
}

VEC_FN vec
gelu_tanh(vec x)
{
    const vec a = vec_smaller(vec_set(11), vec_abs(x));
    /* 2 sqrt(2 / pi) and that times 0.044715 */
    const vec slope = vec_fma(vec_mul(a, a), vec_set(0x1.2444f2p-4f), vec_set(0x1.988454p0f));

    return times_logistic(x, a, slope);
}

VEC_FN vec
silu(vec x)
{
    return times_logistic(x, vec_smaller(vec_set(112), vec_abs(x)), vec_set(1));
}

VEC_FN vec
sigmoid(vec x)
{
    const vec exp = raised_exp(vec_smaller(vec_set(112), vec_abs(x)), vec_set(1));
    const vec divisor = vec_fma(exp, vec_set(ACT_UNRAISED), vec_set(1));
    const vec raised = vec_div(exp, divisor);

    return vec_if_negative(x, vec_mul(raised, vec_set(ACT_UNRAISED)),
                           vec_fma(raised, vec_set(-ACT_UNRAISED), vec_set(1)));
}

VEC_FN vec
hyperbolic_tangent(vec x)
{
    const vec a = vec_smaller(vec_set(10), vec_abs(x));
    vec power;
    const vec rest = exp_parts(a, vec_set(2), 0, &power);
    const vec rise = vec_fma(power, rest, vec_sub(vec_set(1), power)); /* 1 - e^-2a */

    return vec_with_sign(vec_div(rise, vec_sub(vec_set(2), rise)), x);
}

VEC_FN vec
activate(const enum dk_activation activation, vec x)
{
    switch (activation) {
    case DK_ACT_RELU: return vec_larger(vec_set(0), x);
    case DK_ACT_GELU: return gelu(x);
    case DK_ACT_GELU_TANH: return gelu_tanh(x);
    case DK_ACT_SILU: return silu(x);
    case DK_ACT_SIGMOID: return sigmoid(x);
    case DK_ACT_TANH: return hyperbolic_tangent(x);
    default: return x;
    }
}

/* 'activation' is a constant at every call. */
VEC_FN void
bias_act_rows(const enum dk_activation activation, float (*tile)[64], size_t rows, size_t cols,
              const float *bias, float *out, size_t out_stride)
{
    for (size_t r = 0; r < rows; r++) {
        float *const row = out + r * out_stride;
        size_t c = 0;
        for (; c + VEC_LANES <= cols; c += VEC_LANES) {
            const vec x = vec_add(vec_load(&tile[r][c]), vec_load(bias + c));
            vec_store(row + c, activate(activation, x));
        }
        if (c < cols) {
            const vec x = vec_add(vec_load(&tile[r][c]), vec_load(bias + c));
            vec_store_first(row + c, cols - c, activate(activation, x));
        }
    }
}

#define ACT_CASE(activation)                                                                       \
    case activation: bias_act_rows(activation, tile, rows, cols, bias, out, out_stride); break;

/* The body of dk_bias_act_f32_<isa>(). */
VEC_FN void
bias_act(float (*tile)[64], size_t rows, size_t cols, const float *bias,
         enum dk_activation activation, float *out, size_t out_stride)
{
    switch (activation) {
        ACT_CASE(DK_ACT_NONE)
        ACT_CASE(DK_ACT_RELU)
        ACT_CASE(DK_ACT_GELU)
        ACT_CASE(DK_ACT_GELU_TANH)
        ACT_CASE(DK_ACT_SILU)
        ACT_CASE(DK_ACT_SIGMOID)
        ACT_CASE(DK_ACT_TANH)
    default: __builtin_unreachable(); /* callers have checked it */
    }
}
