# shellcheck shell=sh
# The command lines of the shell scripts: --help, lists, and one line for a wrong word (exit 2).
#   . scripts/command-line.sh           in the root of the repository
#   help_of "$@"                        where a word is --help or -h: prints the comment at the head
#                                       of the script, and ends it
#   no_words "$@"                       the same, and refuses every other word
#   refuse FOUND WANTED                 says both in one line, and ends the script
#   split_words "$@"                    prints the items of lists, one a line: between them commas,
#                                       spaces or both may stand
#   check_words "KNOWN..." "WORD..."    refuses a word that is not known
#   check_number NAME VALUE LEAST       refuses what is not a whole number, or is below LEAST
#   fail MESSAGE                        one line, exit 1
# It is written for sh, so that git's hooks can use it too.
script_name=${0##*/}

printable() { printf '%s' "$1" | LC_ALL=C tr -c '[:print:]\200-\377' '?'; }

refuse() {
    echo "$script_name: found \"$(printable "$1")\", wanted $2; --help says more" >&2
    exit 2
}

fail() {
    echo "$script_name: $(printable "$*")" >&2
    exit 1
}

help_of() {
    for word; do
        case $word in -h | --help) ;; *) continue ;; esac
        file=scripts/$script_name
        [ -f "$file" ] || file=$0
        sed -n -e 1d -e '/^# shellcheck/d' -e '/^#/!q' -e 's/^# \{0,1\}//p' "$file"
        exit 0
    done
}

no_words() {
    help_of "$@"
    [ $# = 0 ] || refuse "$1" "no words"
}

# No other program: its absence must not make an empty list of what was asked for.
# shellcheck disable=SC2048,SC2086 # the shell splits
split_words() (
    set -f
    IFS=$(printf ', \t\n.')
    IFS=${IFS%.}
    for item in $*; do
        [ -z "$item" ] || printf '%s\n' "$item"
    done
)

check_words() {
    for word in $2; do
        case " $1 " in *" $word "*) ;; *) refuse "$word" "some of $(printf '%s' "$1" | sed 's/ /, /g')" ;; esac
    done
}

check_number() {
    case $2 in
    '' | *[!0-9]* | ??????????*) refuse "$2" "as $1 a whole number, $3 or more" ;;
    esac
    [ "$2" -ge "$3" ] || refuse "$2" "as $1 a whole number, $3 or more"
}
