/* What the command line says of a run, besides its configuration. */
#ifndef LORAC_TRAIN_OPTIONS_H
#define LORAC_TRAIN_OPTIONS_H

enum resume_mode { RESUME_NEVER, RESUME_AUTO, RESUME_FILE };

struct train_options {
    enum resume_mode resume;
    const char *resume_file; /* of RESUME_FILE */
    double max_hours;        /* stop early enough to keep it; 0: no limit */
};

#endif
