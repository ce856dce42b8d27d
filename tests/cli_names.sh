#!/bin/bash
# Names are text that others wrote. Whatever a path, a key, a name in a file or a word of the
# command line holds, a message is one line, and nothing in it commands a terminal, hides or turns
# letters. A message about a path of a configuration says its line and key.
# shellcheck disable=SC2016,SC2089,SC2090 # Perl in quotes; JSON and YAML, whose quotes are meant
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/tap.sh
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive XDG_CACHE_HOME=$scratch/cache
unset SLURM_JOB_ID SLURM_NTASKS SLURM_CPUS_PER_TASK

# One character of each kind, and all of them in one name. \x9b alone is not UTF-8, \xc2\x9b is CSI.
kinds=(newline $'\n' return $'\r' tab $'\t' escape $'\e[31m' delete $'\x7f' c1 $'\xc2\x9b31m'
    not-utf8 $'\x9b\xff' override $'\xe2\x80\xae' isolate $'\xe2\x81\xa6' mark $'\xd8\x9c'
    zero-width $'\xe2\x80\x8b' joiner $'\xe2\x80\x8d' bom $'\xef\xbb\xbf' separator $'\xe2\x80\xa8'
    soft-hyphen $'\xc2\xad' tag $'\xf3\xa0\x81\xa1')
bad=a
for ((i = 1; i < ${#kinds[@]}; i += 2)); do bad+=${kinds[i]}x; done
bad+=$'\nforged: yes'
# The same without invalid UTF-8, as JSON, YAML and a file name have it.
json='"a\nx\rx\tx\u001b[31mx\u007fx\u009b31mx\u202ex\u2066x\u061cx\u200bx\u200dx\ufeffx\u2028x\u00adx\udb40\udc61x\nforged: yes"'
quoted=${json//'\udb40\udc61'/'\U000E0061'} # the rest YAML spells likewise
text=$(perl -MJSON::PP -e 'my $t = decode_json("[$ARGV[0]]")->[0]; utf8::encode($t); print $t' "$json")
export json

# safe FILE: valid UTF-8 in which only line ends are unsafe; nothing forged at a line's beginning.
safe() {
    perl -e 'local $/; my $s = <STDIN>;
        utf8::decode($s) or $s eq "" or exit 1;
        exit 1 if $s =~ /^forged/m;
        exit 1 if $s =~ /[\x00-\x09\x0b-\x1f\x7f-\x9f\xad\x{61c}\x{200b}-\x{200f}\x{2028}-\x{202e}\x{2060}-\x{206f}\x{feff}\x{e0000}-\x{e0fff}]/;
        exit 0' <"$1"
}
# one NAME COMMAND...: fails with one safe line on stderr, which shows the name.
one() {
    local name=$1 lines
    shift
    run "$@"
    lines=$(wc -l <"$scratch/err")
    if [ "$status" = 0 ] || [ "$status" -gt 2 ] || [ "$lines" != 1 ] || ! safe "$scratch/err" || ! safe "$scratch/out"; then
        report "$name" 1 "$status, $lines lines: $(cat -v "$scratch/err")"
    else
        report "$name" 0 ""
    fi
}
# fine NAME COMMAND...: succeeds, and all that it prints is safe.
fine() {
    local name=$1
    shift
    run "$@"
    if [ "$status" != 0 ] || ! safe "$scratch/err" || ! safe "$scratch/out"; then
        report "$name" 1 "$status: $(cat -v "$scratch/err" "$scratch/out")"
    else
        report "$name" 0 ""
    fi
}

tests/make-model tiny "$scratch/tiny"
cp datasets/sample-alpaca.jsonl "$scratch/records.jsonl"
config() { # config NAME [SECTION.KEY VALUE]...: a run of the tiny model, with other values
    local -A v=([model.path]=$scratch/tiny [data.train]=$scratch/records.jsonl [data.template]=alpaca
        [output.dir]=$scratch/run-$1)
    local file=$scratch/$1.yaml k
    shift
    while [ $# -gt 0 ]; do v[$1]=$2 && shift 2; done
    : >"$file"
    for section in model data adapter train output; do
        echo "$section:" >>"$file"
        for k in $(printf '%s\n' "${!v[@]}" | sort); do
            [ "${k%%.*}" = $section ] && printf '  %s: %s\n' "${k#*.}" "${v[$k]}" >>"$file"
        done
    done
    printf '  r: 2\n' | sed -i '/^adapter:/r /dev/stdin' "$file"
    printf '  max_steps: 1\n  batch_size: 2\n' | sed -i '/^train:/r /dev/stdin' "$file"
}

# ---- each kind of character, in a path and in a word ---------------------------------------------
for ((i = 0; i < ${#kinds[@]}; i += 2)); do
    one "${kinds[i]}: --model" "$LORAC" inspect "$scratch/none${kinds[i + 1]}"
    one "${kinds[i]}: a command" "$LORAC" "trian${kinds[i + 1]}"
    one "${kinds[i]}: CONFIG" "$LORAC" train "$scratch/none${kinds[i + 1]}.yaml"
done

# ---- the command line ----------------------------------------------------------------------------
m=$scratch/tiny
config good
while IFS='|' read -r name words; do
    argv=()
    for w in $words; do
        w=${w//@m/$m} w=${w//@s/$scratch}
        argv+=("${w//BAD/$bad}")
    done
    one "command line: $name" "$LORAC" "${argv[@]}"
done <<END
command|BAD
help|help BAD
option|train --BAD
option value|generate --model @m --prompt x --top-k BAD
too many|inspect @m BAD
train|train BAD
data action|data BAD @s/good.yaml
record|data show @s/good.yaml --record BAD
record of a file|data show @s/good.yaml --record BAD:1
override|train @s/good.yaml BAD
override key|train @s/good.yaml BAD=1
override value|train @s/good.yaml adapter.r=BAD
override path|plan @s/good.yaml model.path=@s/nBAD
generate model|generate --model @s/BAD --prompt x
generate adapter|generate --model @m --adapter @s/BAD --prompt x
generate weight|generate --model @m --adapter @s/x=BAD --prompt x
generate tokenizer|generate --model @m --tokenizer @s/BAD --prompt x
generate template|generate --model @m --template BAD --prompt x
generate prompts|generate --model @m --prompts @s/BAD
chat model|chat --model @s/BAD
tokenize|tokenize --model @s/BAD x
eval data|eval --model @m --data @s/BAD
eval format|eval --model @m --data @s/records.jsonl --format BAD
eval config|eval @s/BAD
merge model|merge --model @s/BAD --adapter @s/x -o @s/out
merge adapter|merge --model @m --adapter @s/BAD -o @s/out
merge output|merge --model @m --adapter @s/x -o @m/BAD
merge dtype|merge --model @m --adapter @s/x -o @s/out --dtype BAD
convert|convert @s/BAD -o @s/out
convert output|convert @m -o @m/BAD
convert quantize|convert @m -o @s/x.gguf --quantize BAD
convert extract|convert @m -o @s/out --extract @s/BAD
inspect|inspect @s/BAD
resume|train @s/good.yaml --resume @s/BAD
report|report @s/BAD
bench shape|bench --shape BAD
END
one "LORAC_ISA" env LORAC_ISA="$bad" "$LORAC" train "$scratch/good.yaml"
one "LORAC_GEMM" env LORAC_GEMM="$bad" "$LORAC" train "$scratch/good.yaml"
run env LORAC_ISA="$bad" XDG_CACHE_HOME="/$bad" SLURM_JOB_ID="$bad" SLURM_CPUS_PER_TASK="$bad" \
    SLURM_NTASKS="$bad" "$LORAC" doctor
ok "doctor: variables" safe "$scratch/out"
ok "doctor: variables, stderr" safe "$scratch/err"
run env LORAC_ISA="$bad" XDG_CACHE_HOME="/$bad" SLURM_JOB_ID="$bad" "$LORAC" doctor --json
ok "doctor: variables as JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$scratch/out"
ok "doctor: variables as JSON, safe" safe "$scratch/out"

# The name of an existing file with a fault in it.
echo '{"prompt": 7' >"$scratch/$bad.jsonl"
echo '{"text": 7}' >"$scratch/$bad.texts"
printf 'model: [' >"$scratch/$bad.yaml"
one "prompts: the file's name" "$LORAC" generate --model "$m" --prompts "$scratch/$bad.jsonl"
one "eval: the file's name" "$LORAC" eval --model "$m" --data "$scratch/$bad.jsonl"
one "configuration: the file's name" "$LORAC" plan "$scratch/$bad.yaml"
one "tokenizer: the file's name" "$LORAC" tokenize --model "$scratch/$bad.texts" x
one "inspect: the file's name" "$LORAC" inspect "$scratch/$bad.jsonl"

# ---- a path that a configuration gave: its line and key ------------------------------------------
# For each path key: a path that does not exist, and, where another kind of file is wrong, such a
# one.
where() { # where NAME FILE LINE KEY [MORE of the command]
    local name=$1 file=$2 line=$3 key=$4 command
    shift 4
    for command in "$@"; do
        # shellcheck disable=SC2086 # words
        one "$name: $command: one line" "$LORAC" $command "$scratch/$file.yaml"
        like "$name: $command: line and key" "$err" "lorac: $scratch/$file.yaml:$line: $key: *"
        is "$name: $command: said once" "$(grep -o "$scratch/$file.yaml" <<<"$err" | wc -l)" 1
    done
}
line_of() { grep -n "$2" "$scratch/$1.yaml" | head -n 1 | cut -d: -f1; }
none=$scratch/none
: >"$scratch/empty.jsonl"
mkdir "$scratch/directory"
for value in "$none" "$scratch/records.jsonl" "$scratch/directory" "$quoted"; do
    config path model.path "$value"
    where "model.path ${value##*/}" path 2 model.path train plan "data show" "data check" "data prepare" eval
done
for value in "$none" "$scratch/records.jsonl" "$quoted"; do
    config tok model.tokenizer "$value"
    where "model.tokenizer ${value##*/}" tok 3 model.tokenizer train plan "data check" eval
done
for value in "$none" "$scratch" "$scratch/empty.jsonl" "$quoted"; do
    config data data.train "$value"
    where "data.train ${value##*/}" data "$(line_of data train:)" data.train train plan "data show" "data check" "data prepare"
    config data data.validation "$value"
    where "data.validation ${value##*/}" data "$(line_of data validation:)" data.validation train plan "data check"
done
printf 'model:\n  path: %s\ndata:\n  template: alpaca\n  train:\n    - %s\n    - {weight: 2,\n       path: %s}\n    - %s\noutput:\n  dir: %s\n' \
    "$m" "$scratch/records.jsonl" "$none" "$none-too" "$scratch/run-list" >"$scratch/list.yaml"
where "an item {path}" list 8 data.train train plan "data check"
sed -i "s|path: $none}|path: $scratch/records.jsonl}|" "$scratch/list.yaml"
where "an item" list 9 data.train train plan "data check"
for value in "$none" "$scratch" "$quoted"; do
    config init adapter.init_from "$value"
    where "adapter.init_from ${value##*/}" init "$(line_of init init_from)" adapter.init_from train plan "data check"
done
config out output.dir "$scratch/records.jsonl"
where "output.dir a file" out "$(line_of out dir:)" output.dir train
config out output.dir "$scratch/records.jsonl/x"
where "output.dir below a file" out "$(line_of out dir:)" output.dir train
config cache data.cache_dir "$scratch/records.jsonl/x" data.prepare true
where "data.cache_dir" cache "$(line_of cache cache_dir)" data.cache_dir train plan "data prepare"
# For a word on the command line the message names that word; for a record only the place in the
# data.
for key in model.path model.tokenizer data.train data.validation adapter.init_from; do
    run "$LORAC" plan "$scratch/good.yaml" "$key=$none"
    like "override $key" "$err" "lorac: override $key: $none*"
done
echo '{"instruction": "x", "output": 7' >"$scratch/broken.jsonl"
config record data.train "$scratch/broken.jsonl"
run "$LORAC" train "$scratch/record.yaml"
like "a record says its place alone" "$err" "lorac: $scratch/broken.jsonl:1: *"
config long data.train "$(printf "$scratch/%0250d/x.jsonl" 7)"
run "$LORAC" plan "$scratch/long.yaml"
like "a path of 300 characters is shown whole" "$err" "*$(printf '%0250d/x.jsonl' 7)*"

# ---- names in files ------------------------------------------------------------------------------
# Keys and values of a configuration; what is missing in it would be further lines.
given=(model.path=m data.train=d output.dir=o)
while IFS='|' read -r name lines; do
    printf '%b\n' "${lines//BAD/"${quoted//\\/\\\\}"}" >"$scratch/key.yaml"
    one "configuration: $name" "$LORAC" train "$scratch/key.yaml" "${given[@]}"
done <<'END'
a section|BAD:\n  x: 1
a key|model:\n  BAD: 1
a dotted key|"model.path": BAD
a value|adapter:\n  r: BAD
a word|data:\n  format: BAD
a list for a section|model: BAD
a member|data:\n  columns: {BAD: x}
a module|adapter:\n  target_modules: [BAD]
a source's member|data:\n  train: [{BAD: x}]
an anchor|model: &x {path: BAD}
END
# A name that is unknown, and there again: two faults and their number.
printf '%b\n' "model:\n  ${quoted//\\/\\\\}: 1\n  ${quoted//\\/\\\\}: 2" >"$scratch/key.yaml"
run "$LORAC" train "$scratch/key.yaml" "${given[@]}"
ok "configuration: twice: as text" safe "$scratch/err"
is "configuration: twice: lines" "$(wc -l <"$scratch/err")" 3
config name data.template "$quoted"
one "a template's name" "$LORAC" plan "$scratch/name.yaml"

# Records: fields, roles, values.
while IFS= read -r record; do
    printf '%s\n' "${record//BAD/"$json"}" >"$scratch/names.jsonl"
    config names data.train "$scratch/names.jsonl"
    one "record: ${record:0:50}" "$LORAC" train "$scratch/names.yaml"
    run "$LORAC" data check "$scratch/names.yaml"
    ok "record, data check: ${record:0:50}" safe "$scratch/err"
done <<'END'
{BAD: "x"}
{"instruction": "x", BAD: 1}
{"messages": [{"role": BAD, "content": "x"}]}
{"messages": [{BAD: "user", "content": "x"}]}
{"conversations": [{"from": BAD, "value": "x"}]}
{"instruction": "x", "output": {BAD: BAD}}
{"instruction": "x", "output": "x", BAD
END

# A model's own files.
spoil() { # spoil NAME FILE PERL: a copy of the tiny model with one file changed; $bad is the name
    rm -rf "$scratch/model" && cp -r "$m" "$scratch/model"
    json=$json perl -0777 -pi -e "BEGIN { \$bad = \$ENV{json} } $3" "$scratch/model/$2"
    if cmp -s "$scratch/model/$2" "$m/$2"; then report "model: $1: changed" 1 "$2 is as before"; fi
    one "model: $1" "$LORAC" generate --model "$scratch/model" --prompt x --max-new-tokens 1
    run "$LORAC" inspect "$scratch/model"
    ok "model: $1: inspect" safe "$scratch/out"
    ok "model: $1: inspect, stderr" safe "$scratch/err"
}
spoil "architecture" config.json 's/"LlamaForCausalLM"/$bad/'
spoil "a value" config.json 's/("hidden_size"\s*:\s*)\d+/$1$bad/'
spoil "scaling" config.json 's/\{/{"rope_scaling": {"rope_type": $bad, "factor": 2.0},/'
tensor() { # a tensor's name in the header, of whatever length
    perl -0777 -pi -e 'my $n = unpack "Q<", substr $_, 0, 8; my $h = substr $_, 8, $n; my $rest = substr $_, 8 + $n;
        my $bad = $ENV{json}; $h =~ s/"model\.norm\.weight"/$bad/; $h .= " " x (-length($h) % 8); $_ = pack("Q<", length $h) . $h . $rest' "$1"
}
rm -rf "$scratch/model" && cp -r "$m" "$scratch/model"
tensor "$scratch/model/model.safetensors"
one "model: a tensor's name" "$LORAC" generate --model "$scratch/model" --prompt x
printf '{"weight_map": {"model.norm.weight": %s, %s: "x"}}\n' "$json" "$json" >"$scratch/model/model.safetensors.index.json"
rm "$scratch/model/model.safetensors"
one "model: a shard's name" "$LORAC" generate --model "$scratch/model" --prompt x
for key in '"model": {"type": BAD}' '"added_tokens": [{"id": 9999999, "content": BAD}]' '"pre_tokenizer": {"type": BAD}' \
    '"normalizer": {"type": BAD}' '"decoder": {"type": BAD}'; do
    echo "{${key//BAD/"$json"}}" >"$scratch/tokenizer.json"
    one "tokenizer: ${key:0:30}" "$LORAC" tokenize --model "$scratch/tokenizer.json" x
done

# An adapter: its base, its keys, its template.
fine "a run to look at" "$LORAC" train "$scratch/good.yaml"
a=$scratch/run-good/adapter
for change in 's/("base_model_name_or_path": )"[^"]*"/$1$bad/' 's/\{/{$bad: true,/' 's/("peft_type": )"[^"]*"/$1$bad/' \
    's/("target_modules": \[)/$1$bad,/' 's/("bias": )"[^"]*"/$1$bad/'; do
    rm -rf "$scratch/adapter" && cp -r "$a" "$scratch/adapter"
    perl -0777 -pi -e 'BEGIN { $bad = $ENV{json} }'"$change" "$scratch/adapter/adapter_config.json"
    for command in "inspect $scratch/adapter" "inspect $scratch/adapter --verify" "inspect $scratch/adapter --json" \
        "convert $scratch/adapter -o $scratch/converted" "generate --model $m --adapter $scratch/adapter --prompt x --max-new-tokens 1"; do
        # shellcheck disable=SC2086 # words
        run "$LORAC" $command
        [[ $command == generate* ]] && : >"$scratch/out" # what a model of noise says, raw into a pipe
        ok "adapter: $change: ${command%% *}" safe "$scratch/err"
        ok "adapter: $change: ${command%% *}, stdout" safe "$scratch/out"
        rm -rf "$scratch/converted"
    done
done
rm -rf "$scratch/adapter" && cp -r "$a" "$scratch/adapter"
perl -pi -e 's/("template": )"[^"]*"/$1$ENV{json}/' "$scratch/adapter/lorac.json"
one "adapter: its template" "$LORAC" generate --model "$m" --adapter "$scratch/adapter" --prompt x
fine "adapter: its template, inspect" "$LORAC" inspect "$scratch/adapter"

# run.json of others.
cp -r "$scratch/run-good" "$scratch/run-of-others"
perl -0777 -pi -e 's/("(host|cpu|status|path|sha256)": )"[^"]*"/$1$ENV{json}/g' "$scratch/run-of-others/run.json"
for how in "" --verify --json; do
    # shellcheck disable=SC2086 # a word or none
    run "$LORAC" inspect "$scratch/run-of-others" $how
    ok "run.json $how" safe "$scratch/out"
    ok "run.json $how, stderr" safe "$scratch/err"
done

# A GGUF: keys, strings, names of tensors.
gguf() { # gguf FILE KEY STRING TENSOR
    perl -e 'my ($file, $key, $string, $tensor) = @ARGV; open my $f, ">:raw", $file or die;
        sub text { pack("Q<", length $_[0]) . $_[0] }
        print $f "GGUF", pack("LQ<Q<", 3, $tensor ne "" ? 1 : 0, 2), text("general.architecture"), pack("L", 8), text($string), text($key), pack("L", 99);
        print $f text($tensor), pack("LQ<LQ<", 1, 1, 0, 0), "\0" x 4096 if $tensor ne ""' "$@"
}
gguf "$scratch/key.gguf" "$text" llama ""
gguf "$scratch/architecture.gguf" "$text" "$text" ""
for f in key architecture; do
    one "gguf: $f" "$LORAC" inspect "$scratch/$f.gguf"
done
fine "a gguf" "$LORAC" convert "$m" -o "$scratch/m.gguf"
perl -0777 -pe 's/output_norm\.weight/output\n\e[31m\x9bght/; s/blk\.0/\e[31m/' "$scratch/m.gguf" >"$scratch/tensor.gguf"
one "gguf: a tensor's name" "$LORAC" inspect "$scratch/tensor.gguf"

# ---- what succeeds -------------------------------------------------------------------------------
here=$scratch/$text
mkdir -p "$here"
cp -r "$m" "$here/model"
cp "$scratch/records.jsonl" "$here/records.jsonl"
q() { local s=${quoted#\"} && echo "\"$scratch/${s%\"}/$1\""; }
config odd model.path "$(q model)" data.train "$(q records.jsonl)" data.validation "$(q records.jsonl)" output.dir "$(q run)"
for command in plan "data show" "data check" "data prepare" train eval; do
    # shellcheck disable=SC2086 # words
    fine "odd paths: $command" "$LORAC" $command "$scratch/odd.yaml"
    [ "$command" = train ] && next=$(sed -n 's/^next *lorac generate \(.*\) "\.\.\."$/\1/p' "$scratch/err")
done
fine "odd paths: data check --json" "$LORAC" data check "$scratch/odd.yaml" --json
ok "odd paths: data check --json is JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$scratch/out"
fine "odd paths: train --resume auto" "$LORAC" train "$scratch/odd.yaml" --resume auto
run "$LORAC" train "$scratch/odd.yaml"
like "a run is there: line and key" "$err" "lorac: $scratch/odd.yaml:$(line_of odd dir:): output.dir: *holds a run already*"
ok "a run is there: one line" safe "$scratch/err"
r=$here/run
ok "a run with such names: run.json is JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$r/run.json"
ok "lorac.json is JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$r/adapter/lorac.json"
ok "the model card is safe" safe "$r/adapter/README.md"
fine "config.yaml is read back" "$LORAC" plan "$r/config.yaml"
is "the next command can be pasted" "$(eval "set -- $next" && printf '%s' "$2")" "$r"
for path in "$here/model" "$r" "$r/adapter"; do
    fine "inspect ${path##*/}" "$LORAC" inspect "$path"
    fine "inspect ${path##*/} --verify" "$LORAC" inspect "$path" --verify
    fine "inspect ${path##*/} --json" "$LORAC" inspect "$path" --json
done
fine "merge" "$LORAC" merge --model "$here/model" --adapter "$r/adapter" -o "$here/merged" --verify
fine "convert" "$LORAC" convert "$here/model" -o "$here/x.gguf"
fine "convert an adapter" "$LORAC" convert "$r/adapter" -o "$here/adapter.gguf"
# A person's terminal: what chat says first, and what a model of noise answers.
if command -v script >/dev/null; then
    words=$(printf '%q ' "$LORAC" chat --model "$here/model" --adapter "$r/adapter")
    TERM=dumb SHELL=/bin/bash script -qec "$words" /dev/null </dev/null | tr -d '\r\004\b' >"$scratch/out"
    ok "chat, on a terminal" safe "$scratch/out"
    like "chat, on a terminal: its model" "$(<"$scratch/out")" "*template*; /help lists commands*"
else
    skip "chat, on a terminal" "no script(1)"
fi
# A path that is not UTF-8 at all.
cp -r "$m" "$scratch/$bad"
fine "not UTF-8: merge" "$LORAC" merge --model "$scratch/$bad" --adapter "$r/adapter" -o "$scratch/$bad-merged"
fine "not UTF-8: inspect" "$LORAC" inspect "$scratch/$bad"
fine "not UTF-8: inspect --json" "$LORAC" inspect "$scratch/$bad" --json
fine "not UTF-8: convert" "$LORAC" convert "$scratch/$bad" -o "$scratch/$bad.gguf"
"$LORAC" convert "$r/adapter" -o "$scratch/$bad-adapter.gguf" 2>/dev/null
fine "not UTF-8: a directory of an adapter" "$LORAC" convert "$scratch/$bad-adapter.gguf" --model "$scratch/$bad" -o "$scratch/$bad-adapter"
ok "not UTF-8: adapter_config.json is JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$scratch/$bad-adapter/adapter_config.json"
ok "not UTF-8: lorac.json is JSON" perl -MJSON::PP -e 'local $/; decode_json(<STDIN>)' <"$scratch/$bad-adapter/lorac.json"
ok "not UTF-8: the card is safe" safe "$scratch/$bad-adapter/README.md"


# ---- the machine's name --------------------------------------------------------------------------
config host
if unshare -ru sh -c 'printf "a\033[31mb\302\233c" >/proc/sys/kernel/hostname' 2>"$scratch/err"; then
    fine "the host's name" unshare -ru sh -c 'printf "a\033[31mb\302\233c" >/proc/sys/kernel/hostname && exec "$@"' \
        sh "$LORAC" train "$scratch/host.yaml"
else
    skip "the host's name" "no name of its own may be given"
fi

done_testing
