/* Entry: which command, or the explorer when there is none.
 *
 * The table below is the list of commands: the help, the man page and the completions are made from it, by
 * asking each command to show its own options in another form. */
#include "args.h"
#include "cli.h"
#include "commands.h"
#include "explore.h"

#include <saccade/err.h>

#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int cmd_help(int argc, char **argv);
static int cmd_completions(int argc, char **argv);
static int cmd_man(int argc, char **argv);

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    { "bench", cmd_bench, "tokens a second, dense and by method, and what the machine can do" },
    { "completions", cmd_completions, "completions for bash, zsh or fish" },
    { "doctor", cmd_doctor, "the machine, the build and the terminal, for bug reports" },
    { "eval", cmd_eval, "tasks by lengths by methods into a results file" },
    { "help", cmd_help, "this overview, or the help of one command" },
    { "info", cmd_info, "what a model holds, and what a run will need" },
    { "logits", cmd_logits, "reference outputs of a model, as safetensors" },
    { "man", cmd_man, "the manual page, as roff" },
    { "methods", cmd_methods, "the methods, their parameters and sources" },
    { "open", cmd_open, "the explorer at the view of a figure" },
    { "report", cmd_report, "tables and plots from results" },
    { "replay", cmd_replay, "a session log again, on screen or into frames" },
    { "run", cmd_run, "one prompt through several methods: answers, scores, recall, timings" },
    { "select", cmd_select, "a method on queries, keys and values from a file" },
    { "snapshot", cmd_snapshot, "figures of a view, and the numbers behind them" },
    { "tasks", cmd_tasks, "the tasks, and samples of them" },
    { "tokenize", cmd_tokenize, "the tokens of a text" },
    { "tour", cmd_tour, "a guided tour through a recorded run" },
    { "trace", cmd_trace, "recorded runs: record, info, check" },
};
enum { N_COMMANDS = sizeof commands / sizeof *commands };

static const struct command *command_find(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (!strcmp(commands[i].name, name)) return &commands[i];
    return NULL;
}

static const char *command_nearest(const char *word)
{
    const char *names[N_COMMANDS];
    for (int i = 0; i < N_COMMANDS; i++) names[i] = commands[i].name;
    return sac_nearest(word, names, N_COMMANDS);
}

/* Ask a command to show its options in the form in force. */
static int show_help_of(const struct command *c)
{
    char name[32], flag[] = "--help";
    snprintf(name, sizeof name, "%s", c->name);
    char *argv[] = { name, flag, NULL };
    return c->run(2, argv);
}

static int show_help_of_explorer(void)
{
    char name[] = "saccade", flag[] = "--help";
    char *argv[] = { name, flag, NULL };
    return explore(2, argv);
}

static void overview(void)
{
    puts("Examples:\n"
         "  saccade\n"
         "  saccade run --task niah --length 4096 --method quest:sparsity=0.9\n"
         "  saccade completions bash > ~/.local/share/bash-completion/completions/saccade\n"
         "\nUsage: saccade [OPTIONS] [MODEL]      the explorer; saccade --help lists its options\n"
         "       saccade COMMAND [OPTIONS]\n\nCommands:");
    for (int i = 0; i < N_COMMANDS; i++) printf("  %-13s %s\n", commands[i].name, commands[i].help);
    puts("\nsaccade COMMAND --help says more about one.");
}

static int cmd_help(int argc, char **argv)
{
    struct arg_strs what = { { NULL }, 0 };
    const struct arg_spec spec = {
        "help", "help [COMMAND]", "Shows all commands, or the options of one.",
        { "saccade help", "saccade help run", "saccade run --help" }, NULL, NULL, &what, 0, 1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    if (!what.n) return overview(), 0;
    const struct command *c = command_find(what.v[0]);
    if (c) return show_help_of(c);
    const char *near = command_nearest(what.v[0]);
    if (near) return args_fail(&spec, "there is no command %s; did you mean %s?", what.v[0], near);
    return args_fail(&spec, "there is no command %s; saccade help lists them", what.v[0]);
}

static int cmd_man(int argc, char **argv)
{
    const struct arg_spec spec = {
        "man", "man", "Prints the manual page in roff, made from the tables of options.",
        { "saccade man | man -l -", "saccade man > saccade.1", "saccade help" }, NULL, NULL, NULL, 0, 0,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    printf(".TH SACCADE 1 \"\" \"saccade %s\" \"User Commands\"\n.SH NAME\nsaccade \\- explorer for sparse "
           "attention\n"
           ".SH DESCRIPTION\nsaccade loads a language model and a prompt, runs real prefill and decode with "
           "the\n"
           "attention methods you choose, and shows what each head reads, what it skips, how\n"
           "that compares with dense attention, and what it does to the answer.\n.SH COMMANDS\n",
           SACCADE_VERSION);
    args_set_help(ARGS_HELP_MAN);
    show_help_of_explorer();
    for (int i = 0; i < N_COMMANDS; i++) show_help_of(&commands[i]);
    args_set_help(ARGS_HELP_TEXT);
    puts(".SH EXIT STATUS\n"
         "0 done; 1 run\\-time failure; 2 usage error, or a terminal is needed and there is none;\n"
         "3 model, trace or data file missing, damaged or not supported; 4 does not fit in memory;\n"
         "5 a check failed; 130, 143 interrupted.\n"
         ".SH ENVIRONMENT\nSACCADE_SAMPLES: the folder of bundled models and prompts.\n"
         "SACCADE_CPU: the most that may be used of scalar, avx2, avx512, vnni, bf16 and amx, or neon.\n"
         "TMPDIR: where a recording larger than memory goes (/var/tmp).\n"
         "NO_COLOR, COLORTERM, TERM, EDITOR, VISUAL, ESCDELAY and LC_ALL are respected.");
    return 0;
}

static int cmd_completions(int argc, char **argv)
{
    static const char *const shells[] = { "bash", "zsh", "fish" };
    struct arg_strs what = { { NULL }, 0 };
    const struct arg_spec spec = {
        "completions",
        "completions bash|zsh|fish",
        "Prints a completion script, made from the tables of options.",
        { "saccade completions bash > ~/.local/share/bash-completion/completions/saccade",
          "saccade completions zsh > ~/.zfunc/_saccade",
          "saccade completions fish > ~/.config/fish/completions/saccade.fish" },
        NULL,
        NULL,
        &what,
        1,
        1,
    };
    int rc = args_parse(&spec, argc, argv);
    if (rc != ARGS_GO) return rc;
    int shell = 0;
    while (shell < 3 && strcmp(shells[shell], what.v[0])) shell++;
    if (shell == 3) return args_fail(&spec, "%s: expected bash, zsh or fish", what.v[0]);

    args_set_help(shell == 0 ? ARGS_HELP_BASH : shell == 1 ? ARGS_HELP_ZSH : ARGS_HELP_FISH);
    if (shell == 0) {
        printf(
            "_saccade()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} words=\n    case ${COMP_WORDS[1]} in\n");
    } else if (shell == 1) {
        printf("#compdef saccade\n_saccade()\n{\n    local -a commands=(\n");
        for (int i = 0; i < N_COMMANDS; i++) printf("        '%s:%s'\n", commands[i].name, commands[i].help);
        printf("    )\n    if (( CURRENT == 2 )); then\n        _describe command commands\n        _files\n "
               "       return\n"
               "    fi\n    local command=${words[2]}\n    shift words\n    (( CURRENT-- ))\n    case "
               "$command in\n");
    } else {
        for (int i = 0; i < N_COMMANDS; i++)
            printf("complete -c saccade -n '__fish_use_subcommand' -a %s -d '%s'\n", commands[i].name,
                   commands[i].help);
    }
    for (int i = 0; i < N_COMMANDS; i++) show_help_of(&commands[i]);
    show_help_of_explorer();
    args_set_help(ARGS_HELP_TEXT);
    if (shell == 0) {
        printf("    esac\n    [ \"$COMP_CWORD\" = 1 ] && words='");
        for (int i = 0; i < N_COMMANDS; i++) printf("%s ", commands[i].name);
        puts("'\n    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\ncomplete -o default -F _saccade "
             "saccade");
    } else if (shell == 1) {
        puts("    esac\n}\n_saccade \"$@\"");
    }
    return 0;
}

/* A word that is neither a command nor an option nor a file: most likely a mistyped command. */
static int not_a_command(const char *word)
{
    const struct arg_spec program = { .name = "" };
    const char *near = command_nearest(word);
    if (near) args_fail(&program, "there is no command or file %s; did you mean %s?", word, near);
    else args_fail(&program, "there is no command or file %s; saccade help lists the commands", word);
    return strpbrk(word, "/.") ? 3 : 2;
}

/* A full disk is no success, whichever command wrote last; a reader that has seen enough is no failure.
 * Commands that close their output themselves have said so already. */
static int written(const char *command, int rc)
{
    errno = 0;
    bool bad = fflush(stdout) != 0 || ferror(stdout);
    int why = errno;
    if (rc || !bad || cli_reader_left()) return rc;
    fprintf(stderr, "saccade%s%s: standard output: cannot be written: %s\n", *command ? " " : "", command,
            cli_write_reason(stdout, why));
    return 1;
}

int main(int argc, char **argv)
{
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C");     /* a point in every locale: numbers are read by other programs */
    signal(SIGPIPE, SIG_IGN);       /* a reader that leaves becomes a write error, not a sudden end */
    signal(SIGXFSZ, SIG_IGN);       /* likewise a file size limit */
    const struct command *c = argc > 1 ? command_find(argv[1]) : NULL;
    if (c) return written(c->name, c->run(argc - 1, argv + 1));
    if (argc > 1 && *argv[1] && argv[1][0] != '-' && access(argv[1], F_OK) != 0) return not_a_command(argv[1]);

    return written("", explore(argc, argv));
}
