use super::*;

#[test]
fn what_no_source_takes_is_named_once_and_assets_by_what_they_look_like() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    for (path, content) in [
        ("srv/models/a.safetensors", "weights"),
        ("srv/models/skip/b.onnx", "weights"),
        ("srv/features/live", "SQLite format 3\0…"),
        ("srv/new/deep/x/t", "PAR1…"),
        ("srv/new/deep/y", "text"),
        ("srv/table/_versions/1.manifest", ""),
        ("srv/table/data/1", ""),
        ("home/me/m.gguf", "GGUF"),
        ("home/me/notes", "text"),
    ] {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let text = format!(
        "assets = [\"{0}/srv\"]\n[sources.m]\npaths = [\"{0}/srv/models\"]\nexclude = [\"skip\"]\n\
         [sources.t]\npaths = [\"{0}/srv/table\"]",
        root.display()
    );
    let strategy = Strategy::parse(&text).unwrap();
    let found = run(&strategy, &[root.join("home")], &AtomicBool::new(false)).unwrap();
    let short = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
    let bare: Vec<_> = found.uncovered.iter().map(|part| (short(&part.path), part.files)).collect();
    let expected = [("srv/features", 1), ("srv/models/skip", 1), ("srv/new", 2)];
    assert_eq!(bare, expected.map(|(path, files)| (path.to_owned(), files)));
    let assets: Vec<_> = found.assets.iter().map(|a| (short(&a.path), a.looks)).collect();
    let expected = [
        ("home/me/m.gguf", Looks::Weights),
        ("srv/features/live", Looks::Sqlite),
        ("srv/models/skip/b.onnx", Looks::Weights),
        ("srv/new/deep/x/t", Looks::Parquet),
    ];
    assert_eq!(assets, expected.map(|(path, looks)| (path.to_owned(), looks)));
    assert_eq!(found.files_covered, 3);
    assert!(found.unread.is_empty());
}

#[test]
fn assets_are_told_by_name_or_first_bytes() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    let header = [&40_u64.to_le_bytes()[..], b"{\"__metadata__\":{}}"].concat();
    let files: [(&str, &[u8], Option<Looks>); 12] = [
        ("weights", &header, Some(Looks::Weights)),
        ("pytorch_model-1.bin", b"PK", Some(Looks::Weights)),
        ("other.bin", b"PK", None),
        ("a.TFLITE", b"", Some(Looks::Weights)),
        ("array", b"\x93NUMPY\x01", Some(Looks::Weights)),
        ("states", b"\x89HDF\r\n", Some(Looks::Weights)),
        ("frame", b"ARROW1\0\0", Some(Looks::Parquet)),
        ("duck", b"12345678DUCK", Some(Looks::Duckdb)),
        ("dump", b"REDIS0011", Some(Looks::Redis)),
        ("code.json", b"{\"a\": 1, \"b\": 2}", None),
        ("short", b"\x01", None),
        ("text", b"nothing of it here", None),
    ];
    for (name, content, _) in &files {
        fs::write(root.join(name), content).unwrap();
    }
    for folder in ["delta/_delta_log", "rocks/LOCK", "rocks/CURRENT", "my/ibdata1"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let strategy = Strategy::parse("").unwrap();
    let found = run(&strategy, std::slice::from_ref(&root), &AtomicBool::new(false)).unwrap();
    let looks: BTreeMap<_, _> = found.assets.iter().map(|a| (a.path.clone(), a.looks)).collect();
    for (name, _, expected) in files {
        assert_eq!(looks.get(&root.join(name)).copied(), expected, "{name}");
    }
    for (name, expected) in
        [("delta", Looks::Table), ("rocks", Looks::Rocksdb), ("my", Looks::Mysql)]
    {
        assert_eq!(looks.get(&root.join(name)), Some(&expected), "{name}");
    }
}

#[test]
fn a_server_that_does_not_answer_is_told() {
    let text = "[sources.cache]\nredis = { address = \"/nonexistent/sock\" }";
    let found = run(&Strategy::parse(text).unwrap(), &[], &AtomicBool::new(false)).unwrap();
    let [(place, what)] = found.unread.as_slice() else { panic!("{:?}", found.unread) };
    assert_eq!(place, Path::new("source cache"));
    assert!(what.starts_with("cannot connect"), "{what}");
}

#[test]
fn a_root_without_a_covered_file_is_named_itself_and_a_missing_one_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().canonicalize().unwrap();
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::write(root.join("a/b/c"), "x").unwrap();
    let text = format!("assets = [\"{0}/a\", \"{0}/none\"]", root.display());
    let found = run(&Strategy::parse(&text).unwrap(), &[], &AtomicBool::new(false)).unwrap();
    assert_eq!(found.uncovered, [Uncovered { path: root.join("a"), files: 1, bytes: 1 }]);
    assert_eq!(found.unread.len(), 1);
}
