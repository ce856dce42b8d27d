# The command lines of the Perl scripts: --help, and one line for a wrong word (exit 2).
package CommandLine;
use strict;
use warnings;
use File::Basename;

my $name = basename($0);
my $path = "$FindBin::Bin/$name";

# In quotes, and on one line whatever is in it.
sub quoted { return '"' . shift =~ s/[^[:print:]]/?/gr . '"' }

sub refuse {
    my ($found, $wanted) = @_;
    print STDERR "$name: found $found, wanted $wanted; --help says more\n";
    exit 2;
}

# One line, exit 1.
sub fail { print STDERR "$name: ", shift =~ s/[^[:print:]]/?/gr, "\n"; exit 1 }

# The comment at the head of the script.
sub say_help {
    open my $in, '<', $path or die "$path: $!\n";
    while (<$in>) {
        next if $. == 1;
        last unless s/^# ?//;
        print;
    }
    exit 0;
}

# The words of the command line: no options, at least $least and at most $most of them (undef: any
# number). $wanted names them in messages.
sub words {
    my ($wanted, $least, $most) = @_;
    say_help() if grep { /^(-h|--help)$/ } @ARGV;
    for (@ARGV) { refuse(quoted($_), $wanted) if /^-/ }
    refuse('too few words', $wanted) if @ARGV < $least;
    refuse(quoted($ARGV[$most]), $wanted) if defined $most && @ARGV > $most;
    return @ARGV;
}

# For a script that takes nothing but --help.
sub no_words { words('no words', 0, 0); return }

# The one word of the command line, which is one of those given.
sub choice {
    my @known = @_;
    my $wanted = 'one of ' . join(', ', @known);
    my ($word) = words($wanted, 1, 1);
    refuse(quoted($word), $wanted) unless grep { $_ eq $word } @known;
    return $word;
}

1;
