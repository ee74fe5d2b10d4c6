/* What needles and their haystack are made of: adjectives and nouns that form keys, and the short sentences
 * that fill variable tracking. */
#include "tasks/data.h"

static const char *const adjectives[] = {
    "amber", "azure", "brave", "bright", "calm", "clever", "cold", "cosmic", "crimson", "curious", "dapper",
    "distant", "dusty", "eager", "early", "earnest", "faint", "fierce", "fluffy", "frosty", "gentle",
    "giant", "golden", "grand", "happy", "hidden", "hollow", "humble", "icy", "idle", "jolly", "keen",
    "kind", "lively", "lone", "lucky", "marble", "mellow", "mighty", "misty", "modest", "noble", "odd",
    "pale", "plain", "polite", "proud", "quick", "quiet", "rapid", "rare", "royal", "rusty", "shy",
    "silent", "silver", "sleepy", "smooth", "solar", "steady", "sunny", "swift", "tidy", "tiny", "vivid",
    "warm", "wild",
};

static const char *const nouns[] = {
    "acorn", "anchor", "badger", "basket", "beacon", "bishop", "bottle", "bridge", "button", "candle",
    "canyon", "castle", "cedar", "comet", "copper", "cradle", "dagger", "desert", "dragon", "eagle",
    "ember", "falcon", "feather", "forest", "garden", "glacier", "hammer", "harbor", "hazel", "heron",
    "island", "jacket", "jungle", "kettle", "ladder", "lagoon", "lantern", "lemon", "magnet", "maple",
    "meadow", "mirror", "monkey", "needle", "oasis", "orchid", "otter", "paddle", "pebble", "pepper",
    "pigeon", "planet", "pocket", "prairie", "puzzle", "rabbit", "raven", "ribbon", "river", "rocket",
    "saddle", "shadow", "spider", "summit", "temple", "thunder", "tiger", "tunnel", "turtle", "valley",
    "violin", "walnut", "willow", "window",
};

static const char *const noise[] = {
    "The road runs north.", "The well is deep.", "The barn is red.", "We walk on.", "Night follows day.",
};

#define LIST(a) { a, (int)(sizeof a / sizeof *a) }

const struct word_list task_key_adjectives = LIST(adjectives);
const struct word_list task_key_nouns = LIST(nouns);
const struct word_list task_noise = LIST(noise);
