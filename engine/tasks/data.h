/* Word lists and sentence templates of the generated tasks, compiled in. */
#ifndef TASKS_DATA_H
#define TASKS_DATA_H

struct word_list {
    const char *const *w;
    int n;
};

extern const struct word_list task_words;      /* vocabulary of cwe and vt */
extern const struct word_list task_more_words; /* further words, for paper prompts of cwe */
extern const struct word_list task_key_adjectives, task_key_nouns, task_noise;

struct story_data {
    struct word_list protagonists, characters, places, events;
    struct word_list item_adjectives, item_materials, item_kinds;
    struct word_list arrival, reason, event, meeting, talk, buy, sell, farewell, close, aside;
};
extern const struct story_data task_story;
#endif
