#!/usr/bin/perl
# An entry in Perl, written from harness/contract/README.md alone: the mean grey value,
# as score and as a constant map. Needs nothing beyond the interpreter (Debian's perl-base).
use strict;
use warnings;

my $verb = shift // '';
if ($verb eq 'describe') {
    print qq({"name":"mean_grey","contract":1,"maps":true,"verbs":["predict"]}\n);
    exit 0;
}
die "unknown verb\n" unless $verb eq 'predict';

binmode STDIN;
binmode STDOUT;
$| = 1;

# The harness writes its keys without white space, so patterns are enough to read them.
my $hello = <STDIN>;
die "no hello\n" unless defined $hello && $hello =~ /"type":"hello","contract":1,/;
my $maps_wanted = $hello =~ /"maps_wanted":true/;
print qq(\n{"type":"ready","contract":1,"maps":true}\n);

while (defined(my $line = <STDIN>)) {
    my ($id) = $line =~ /"id":"([^"]+)"/;
    my ($height, $width) = $line =~ /"shape":\[(\d+),(\d+)/;
    my ($nbytes) = $line =~ /"nbytes":(\d+)/;
    my $image = '';
    while (length $image < $nbytes) {
        my $count = read STDIN, $image, $nbytes - length $image, length $image;
        die "input ended inside an image\n" unless $count;
    }
    # Sums of 4 KiB: a checksum of 32 bits cannot overflow there.
    my $sum = 0;
    $sum += unpack '%32C*', substr $image, $_ * 4096, 4096 for 0 .. ($nbytes - 1) / 4096;
    my $score = sprintf '%.17g', $sum / $nbytes / 255;
    if ($maps_wanted) {
        my $size = $height * $width;
        my $bytes = $size * 4;
        print qq({"type":"map","id":"$id","score":$score,"shape":[$height,$width],),
            qq("dtype":"float32","nbytes":$bytes}\n), pack('f<', $score) x $size;
    }
    else {
        print qq({"type":"map","id":"$id","score":$score,"shape":null}\n);
    }
}
