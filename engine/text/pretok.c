/* The pre-tokenizers that GGUF files name, as the sequence of expressions each stands for. */
#include "text/tok_int.h"

#include <string.h>

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define LLAMA3 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}" TAIL
#define QWEN2 CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" TAIL
#define QWEN35                                                                                               \
    CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*"        \
                 "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define LETTERS(end)                                                                                         \
    "[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" end "|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" end
#define SLASH_TAIL "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define TEKKEN LETTERS("") "|\\p{N}" SLASH_TAIL
#define GPT4O LETTERS(CONTRACTIONS "?") "|\\p{N}{1,3}" SLASH_TAIL
#define DEEPSEEK3                                                                                            \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"      \
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CJK "[\\x{4e00}-\\x{9fa5}\\x{0800}-\\x{4e00}\\x{ac00}-\\x{d7ff}]+"
/* Letters with case, as a frozen list of an older Unicode has them. */
#define R(a, b) "\\x{" #a "}-\\x{" #b "}"
#define C(a) "\\x{" #a "}"
#define CASED                                                                                                \
    "\\s?[A-Za-z" C(b5) R(c0, d6) R(d8, f6) R(f8, 1ba) R(1bc, 1bf) R(1c4, 293) R(295, 2af) R(370, 373)       \
        C(376) C(377) R(37b, 37d) C(37f) C(386) R(388, 38a) C(38c) R(38e, 3a1) R(3a3, 3f5) R(3f7, 481)       \
            R(48a, 52f) R(531, 556) R(10a0, 10c5) R(13a0, 13f5) R(13f8, 13fd) R(1c90, 1cba) R(1cbd, 1cbf)    \
                R(1d00, 1d2b) R(1d6b, 1d77) R(1d79, 1d9a) R(1e00, 1f15) R(1f18, 1f1d) R(1f20, 1f45)          \
                    R(1f48, 1f4d) R(1f50, 1f57) C(1f59) C(1f5b) C(1f5d) R(1f5f, 1f7d) R(1f80, 1fb4)          \
                        R(1fb6, 1fbc) C(1fbe) R(1fc2, 1fc4) R(1fc6, 1fcc) R(1fd0, 1fd3) R(1fd6, 1fdb)        \
                            R(1fe0, 1fec) R(1ff2, 1ff4) R(1ff6, 1ffc) C(2102) C(2107) R(210a, 2113) C(2115)  \
                                R(2119, 211d) C(2124) C(2126) C(2128) R(212a, 212d) R(212f, 2134) C(2139)    \
                                    R(213c, 213f) R(2145, 2149) C(214e) C(2183) C(2184) R(2c00, 2c7b)        \
                                        R(2c7e, 2ce4) R(2ceb, 2cee) C(2cf2) C(2cf3) R(a640, a66d)            \
                                            R(a680, a69b) R(a722, a76f) R(a771, a787) R(a78b, a78e)          \
                                                R(ab70, abbf) R(fb00, fb06) R(fb13, fb17) R(ff21, ff3a)      \
                                                    R(ff41, ff5a) R(10400, 1044f) R(104b0, 104d3)            \
                                                        R(104d8, 104fb) R(10c80, 10cb2) R(10cc0, 10cf2)      \
                                                            R(118a0, 118df) R(1e900, 1e943) "]+"

enum { IGNORE_MERGES = 1, ADD_BOS = 2, MAX_STEPS = 6 };

static const struct pretok {
    const char *names;      /* separated by blanks */
    int flags;
    const char *pattern[MAX_STEPS];
} pretoks[] = {
    { "gpt-2 phi-2 mpt olmo jais roberta-bpe gigachat modern-bert", 0, { GPT2 } },
    { "smollm starcoder refact command-r codeshell exaone minerva-7b", 0, { "\\p{N}", GPT2 } },
    { "llama-bpe llama3 llama-v3 pixtral falcon3 lfm2", IGNORE_MERGES | ADD_BOS, { LLAMA3 } },
    { "dbrx smaug-bpe chatglm-bpe glm4", 0, { LLAMA3 } },
    { "qwen2 deepseek-r1-qwen stablelm2 hunyuan megrez", 0, { QWEN2 } },
    { "qwen35", 0, { QWEN35 } },
    { "tekken", IGNORE_MERGES | ADD_BOS, { TEKKEN } },
    { "gpt-4o llama4", 0, { GPT4O } },
    { "deepseek-llm",
      0,
      { "[\\r\\n]", CASED,
        "\\s?[!-/:-~\\x{ff01}-\\x{ff0f}\\x{ff1a}-\\x{ff5e}\\x{2018}-\\x{201f}"
        "\\x{3000}-\\x{3002}]+",
        "\\s+\\z", CJK, "\\p{N}+" } },
    { "deepseek-coder", 0, { "[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", CJK, "\\p{N}" } },
    { "deepseek-v3",
      0,
      { "\\p{N}{1,3}", "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+", DEEPSEEK3 } },
    { "falcon", 0, { "[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]" } },
    { "default", 0, { "[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" } },
};

static bool listed(const char *names, const char *name, size_t len)
{
    for (const char *p = names; *p;) {
        size_t n = strcspn(p, " ");
        if (n == len && !memcmp(p, name, n)) return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

enum sac_code pretok_by_name(struct tokenizer *t, const char *name, size_t len, const char *path,
                             struct sac_err *err)
{
    for (size_t i = 0; i < sizeof pretoks / sizeof *pretoks; i++) {
        if (!listed(pretoks[i].names, name, len)) continue;
        enum sac_code rc = SAC_OK;
        for (int s = 0; s < MAX_STEPS && pretoks[i].pattern[s] && !rc; s++)
            rc = split_add(t, pretoks[i].pattern[s], false, SPLIT_ISOLATED, false, path, err);
        t->ignore_merges = pretoks[i].flags & IGNORE_MERGES;
        t->add_bos = pretoks[i].flags & ADD_BOS;
        return rc;
    }
    return sac_fail(err, SAC_ENOTSUP,
                    "%s: its tokenizer splits text the way called %.*s, which is not known here", path,
                    len < 60 ? (int)len : 60, name);
}

enum sac_code pretok_gpt2(struct tokenizer *t, const char *path, struct sac_err *err)
{
    return split_add(t, GPT2, false, SPLIT_ISOLATED, false, path, err);
}
