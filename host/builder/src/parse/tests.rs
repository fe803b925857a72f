use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn source(text: &str) -> Source {
    Source { name: "Dockerfile".to_owned(), text: text.to_owned() }
}

fn parsed(text: &str) -> Dockerfile {
    parse(source(text)).unwrap_or_else(|(_, fault)| panic!("{text}: {fault:?}"))
}

fn whole(dockerfile: &Dockerfile) -> String {
    let mut text = format!("# escape={}\n", dockerfile.escape);
    for statement in &dockerfile.arguments {
        text.push_str(&statement.whole());
    }
    for stage in &dockerfile.stages {
        writeln!(text, "FROM {}", stage.from).unwrap();
        stage.statements.iter().for_each(|statement| text.push_str(&statement.whole()));
    }
    text
}

/// All but where things stand and what the file looked like.
fn assert_same(one: &Dockerfile, other: &Dockerfile) {
    assert_eq!(one.escape, other.escape);
    assert_eq!(one.arguments, other.arguments);
    let stages = |file: &Dockerfile| -> Vec<_> {
        file.stages.iter().map(|stage| (stage.from.clone(), stage.statements.clone())).collect()
    };
    assert_eq!(stages(one), stages(other), "{}", whole(one));
}

const EVERYTHING: &str = r#"# syntax=docker/dockerfile:1
# A comment.
ARG VERSION=12
FROM --platform=$BUILDPLATFORM debian:${VERSION} AS Base
ARG A B="b c"
ENV ONE=1 TWO="two words" \
    # a comment in between
    THREE=three\ words
ENV FOUR the fourth "as it   is"
LABEL "com.example"=x a.b='c d'
RUN apt-get update && \
    apt-get install -y nginx
RUN ["/bin/true", "x y"]
RUN <<EOF
echo "$ONE"
  echo two
EOF
RUN cat <<-'ONE' - <<TWO
	stripped
	ONE
not $stripped
TWO
COPY --chown=33:33 --chmod=644 a b* /srv/
COPY --from=base ["a file", "/x"]
COPY <<EOF /etc/motd
hello $ONE
EOF
ADD archive.tar.gz /
WORKDIR /srv
USER web:web
EXPOSE 80 53/udp
VOLUME /data ["x
VOLUME ["/data", "/more"]
SHELL ["/bin/bash", "-c"]
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://localhost/
HEALTHCHECK NONE
ONBUILD copy . /app
ENTRYPOINT exec nginx
CMD ["-g", "daemon off;"]
FROM scratch
copy --from=0 / /
"#;

#[test]
fn everything_is_read_and_reads_back_as_the_same() {
    let file = parsed(EVERYTHING);
    assert_eq!(file.stages.len(), 2);
    assert_eq!(file.stages[0].from.name.as_deref(), Some("base"));
    let text = whole(&file);
    insta::assert_snapshot!(text);
    assert_same(&file, &parsed(&text));
}

#[test]
fn places_are_those_of_the_file() {
    let file = parsed("FROM a\n\n  RUN x \\\n  # c\n   y z\n");
    let Instruction::Run(Run { command: Command::Shell(line), .. }) =
        &file.stages[0].statements[0].instruction
    else {
        panic!("{file:?}")
    };
    assert_eq!(file.stages[0].statements[0].at(), Position { line: 3, column: 3 });
    let words = line.words();
    assert_eq!(words[0].start(), Position { line: 3, column: 7 });
    assert_eq!(words[2].start(), Position { line: 5, column: 6 });
}

#[test]
fn what_is_wrong_is_told_with_its_place() {
    let mut told = String::new();
    for text in [
        "",
        "RUN true\nFROM a",
        "FROM a\nRUNN true",
        "FROM a\nMAINTAINER me",
        "FROM a\nRUN",
        "FROM a\nRUN --mount=type=cache,target=/x true",
        "FROM a\nCOPY --link a /",
        "FROM a\nCOPY --chown a /",
        "FROM a\nCOPY a",
        "FROM a\nENV A",
        "FROM a\nENV A=1 \\\n  B",
        "FROM a\nARG 1A",
        "FROM a is b",
        "FROM a AS 1",
        "FROM a AS b\nFROM c AS B",
        "FROM a\nSHELL bash",
        "FROM a\nHEALTHCHECK curl",
        "FROM a\nHEALTHCHECK --interval=30 CMD true",
        "FROM a\nONBUILD FROM b",
        "FROM a\nRUN <<EOF\ntrue",
        "# syntax=example.org/other:1\nFROM a",
        "# escape=/\nFROM a",
    ] {
        let (source, fault) = parse(source(text)).map(drop).unwrap_err();
        let Fault { at, message, hint } = &fault;
        let hint = hint.as_ref().map_or_else(String::new, |hint| format!("hint: {hint}\n"));
        let place = Place(&source, *at);
        writeln!(told, "{place}: {message}\n{}\n{hint}", source.excerpt(*at)).unwrap();
    }
    insta::assert_snapshot!(told);
}

fn line() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "FROM ",
        "RUN ",
        "COPY ",
        "ADD ",
        "ENV ",
        "ARG ",
        "LABEL ",
        "CMD ",
        "ONBUILD ",
        "VOLUME ",
        "SHELL ",
        "EXPOSE ",
        "HEALTHCHECK ",
        "--from=a ",
        "--chown=b ",
        "--interval=1s ",
        "-- ",
        "a ",
        "b=c ",
        "\"x y\" ",
        "'",
        "\"",
        "\\",
        "\\\n",
        "\n",
        "\n# c\n",
        "<<EOF ",
        "<<-'E' ",
        "EOF\n",
        "\tE\n",
        "[\"a\", \"b\"]",
        "[",
        "$X ",
        "${X:-y} ",
        "é",
        "\r\n",
        "\u{b}",
        "AS b\n",
        "NONE",
        "# escape=`\n",
        "`",
    ]);
    prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        let _ = parse(source(&text));
    }

    #[test]
    fn what_is_read_reads_back_as_the_same(text in line()) {
        for text in [text.clone(), format!("FROM a\n{text}")] {
            match parse(source(&text)) {
                Ok(file) => assert_same(&file, &parsed(&whole(&file))),
                Err((source, fault)) => {
                    let lines = source.text.lines().count().max(1);
                    prop_assert!((1..=lines).contains(&fault.at.line), "{fault:?}");
                    let _ = source.excerpt(fault.at);
                }
            }
        }
    }
}
