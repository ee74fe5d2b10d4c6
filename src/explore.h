/* The explorer, as main starts it when no command is named. */
#ifndef EXPLORE_H
#define EXPLORE_H

int explore(int argc, char **argv);
#endif
