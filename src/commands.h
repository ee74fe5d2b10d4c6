/* Every command: int cmd_NAME(int argc, char **argv), argv[0] is the command's name, the result is the exit
 * code (0 done, 1 run-time failure, 2 usage, 3 file, 4 memory, 5 check failed, 130 and 143 interrupted). The
 * table in main.c lists them; each lives in cmd_NAME.c. */
#ifndef COMMANDS_H
#define COMMANDS_H

int cmd_bench(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_methods(int argc, char **argv);
int cmd_open(int argc, char **argv);
int cmd_replay(int argc, char **argv);
int cmd_report(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_select(int argc, char **argv);
int cmd_snapshot(int argc, char **argv);
int cmd_tasks(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_tour(int argc, char **argv);
int cmd_trace(int argc, char **argv);
#endif
