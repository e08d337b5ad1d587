//! What stands where a model or a file of weights belongs, and what is said of the tensors in one.

use super::photos::COLOURS;
use super::*;

/// A file of the state dicts that PyTorch wrote.
fn torch(name: &str) -> Vec<u8> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "../tests/data/torch", name].iter().collect();
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The network of the state dicts.
const STATES: &str = "pub net Small(x: [2, 3, 5, 5]) {
    x.conv(4, 3, name = \"conv\").bn(name = \"bn\").global_avg_pool().flatten().linear(5, name = \"fc\")
}
";

#[test]
fn what_is_not_a_model_says_what_it_is() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("colours.net"), COLOURS).expect("a file");
    let whole = weights(|_| true, |_, shape| shape);
    let others: [(&str, &[u8], &[&str]); 10] = [
        ("page", b"<!DOCTYPE html>\n<html><body>404</body></html>", &["an HTML page", "link to the file itself"]),
        (
            "lfs",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            &["Git LFS pointer", "git lfs pull"],
        ),
        ("gz", b"\x1f\x8b\x08\x00\0\0\0\0\0\x03", &["compressed by gzip", "unpack it"]),
        ("text", b"ir_version: 8\ngraph {\n  name: \"g\"\n}\n", &["written as text", "format=\"textproto\""]),
        ("script", &torch("script.pth"), &["TorchScript module"]),
        ("saved", b"\x08\x01\x12\xf5\xa6\x02\x0a\x8b\x02\x0a", &["a SavedModel of TensorFlow", "tf2onnx.convert"]),
        ("lite", b"\x1c\0\0\0TFL3\x14\0\x20\0", &["a TensorFlow Lite model", "--tflite"]),
        ("keras", b"\x89HDF\r\n\x1a\n\0\0", &["an HDF5 file", "format=\"onnx\""]),
        ("empty", b"", &["an empty file"]),
        ("missing", b"Entry not found", &["a text"]),
    ];
    for (name, bytes, words) in others {
        for ending in ["onnx", "pth", "npy", "png"] {
            let file = format!("{name}.{ending}");
            fs::write(path.join(&file), bytes).expect("a file");
            let args: &[&str] = match ending {
                "onnx" => &["inspect", &file],
                "pth" => &["weights", "small.net", &file],
                "npy" => &["run", "small.net", "--weights", "fill", "--input", &file],
                _ => &["run", "colours.net", "--weights", "fill", "--input", &file],
            };
            let message = fails(path, args);
            assert!(message.contains(words[0]) && message.contains(&file), "`{}` in: {message}", words[0]);
            assert!(ending == "png" || words.iter().all(|word| message.contains(word)), "{words:?} in: {message}");
        }
    }
    // Weights where a model belongs, and a model where weights do.
    fs::write(path.join("w.onnx"), &whole).expect("a file");
    assert!(fails(path, &["inspect", "w.onnx"]).contains("w.onnx is a safetensors file, not an ONNX model"));
    fs::write(path.join("state.onnx"), torch("small.pth")).expect("a file");
    assert!(fails(path, &["inspect", "state.onnx"]).contains("state.onnx is a file of PyTorch's `torch.save`"));
    fs::write(path.join("w.net"), &whole).expect("a file");
    assert!(fails(path, &["inspect", "w.net"]).contains("w.net is a safetensors file, not a network"));
    fs::write(path.join("page.net"), "<html></html>").expect("a file");
    assert!(fails(path, &["inspect", "page.net"]).contains("page.net is an HTML page, not a network"));
    succeeds(path, &["export", "small.net", "--weights", "fill", "--out", "m.onnx"]);
    let message = fails(path, &["weights", "small.net", "m.onnx"]);
    assert!(message.contains("m.onnx is an ONNX model, not a file of weights"), "{message}");

    fs::create_dir(path.join("saved_model")).expect("a folder");
    for args in [&["inspect", "saved_model"][..], &["weights", "small.net", "saved_model"]] {
        assert!(fails(path, args).contains("saved_model is a folder, not a file"), "{args:?}");
    }
    fs::write(path.join("saved_model/saved_model.pb"), b"\x08\x01\x12\x02\x0a\0").expect("a file");
    let message = fails(path, &["inspect", "saved_model"]);
    assert!(message.contains("a SavedModel of TensorFlow, a folder") && message.contains("tf2onnx"), "{message}");
}

#[test]
fn a_network_lists_its_tensors_and_writes_a_template() {
    let folder = folder();
    let path = folder.path();
    let listed = succeeds(path, &["weights", "small.net"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert_eq!(lines[0].split_whitespace().collect::<Vec<_>>().join(" "), "stem.weight [20, 3, 3, 3]");
    assert_eq!((lines.len(), lines[9]), (10, "9 tensors of 1030 numbers"), "{listed}");
    let json: serde_json::Value =
        serde_json::from_str(&succeeds(path, &["weights", "small.net", "--json"])).expect("JSON");
    assert_eq!(json["tensors"][8], serde_json::json!({ "name": "classifier.bias", "shape": [10] }));

    let write = ["weights", "small.net", "--template", "deep/t.safetensors"];
    assert_eq!(succeeds(path, &write), "9 tensors in deep/t.safetensors, all zeros, to be filled in\n");
    let file = fs::read(path.join("deep/t.safetensors")).expect("a file");
    let template = SafeTensors::parse(&file).expect("safetensors");
    let wanted = weights(|_| true, |_, shape| shape);
    let wanted = SafeTensors::parse(&wanted).expect("safetensors");
    assert_eq!(template.names().collect::<Vec<_>>(), wanted.names().collect::<Vec<_>>());
    for name in wanted.names() {
        let (found, wanted) = (template.tensor(name).expect("a tensor"), wanted.tensor(name).expect("a tensor"));
        assert_eq!((found.dtype, found.shape), (Dtype::F32, wanted.shape));
        assert!(found.bytes.iter().all(|&byte| byte == 0));
    }
    assert_eq!(template.trailing(), 0);
    assert_eq!(succeeds(path, &["weights", "small.net", "deep/t.safetensors"]), "9 tensors match\n");
    assert!(fails(path, &write).contains("exists already"));
    succeeds(path, &[&write[..], &["--force"]].concat());
    assert!(fails(path, &["weights", "small.net", "--key", "model"]).contains("`--key` is for a file"));
}

#[test]
fn a_network_of_the_zoo_is_suggested_where_no_file_is() {
    let folder = folder();
    let path = folder.path();
    for args in
        [&["inspect", "resnet50"][..], &["graph", "resnet50"], &["weights", "resnet50"], &["kernels", "ResNet-50"]]
    {
        let message = fails(path, args);
        assert!(message.contains("`zoo:resnet50` is a network that comes with kiln"), "{message}");
    }
    assert!(!fails(path, &["inspect", "resnet50.net"]).contains("zoo:"));
    // A file of that name is a network like any other.
    fs::write(path.join("resnet50"), NET).expect("a file");
    assert!(succeeds(path, &["graph", "resnet50"]).contains("stem"));
}

#[test]
fn which_dict_of_a_checkpoint_was_taken_is_said_and_can_be_chosen() {
    let folder = folder();
    let path = folder.path();
    fs::write(path.join("states.net"), STATES).expect("a file");
    for (name, file) in [("c.pth", "deflated.pth"), ("legacy.pth", "legacy_training.pth")] {
        fs::write(path.join(name), torch(file)).expect("a file");
    }
    let run = |more: &[&str]| {
        let run = ["run", "states.net", "--input", "fill", "--engine", "interp", "--weights"];
        let output = kiln(path, &[&run[..], more].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (text(output.stdout), text(output.stderr))
    };
    let (params, said) = run(&["c.pth"]);
    assert!(
        said.contains("c.pth: the tensors of `params` are taken, not those of `params_ema`; `--key NAME` takes others")
    );
    let (mean, silent) = run(&["c.pth", "--key", "params_ema"]);
    assert!(mean != params && !silent.contains("are taken"), "{silent}");
    assert_eq!(run(&["c.pth", "--key", "params"]).0, params);
    assert_eq!(run(&["legacy.pth", "--key", "params_ema"]).0, mean);

    let wrong = fails(path, &["weights", "states.net", "c.pth", "--key", "ema"]);
    assert!(wrong.contains("the file has no dict of tensors `ema`; it has `params`, `params_ema`"), "{wrong}");
    let text = succeeds(path, &["weights", "states.net", "c.pth", "--key", "params_ema"]);
    assert!(text.starts_with("8 tensors match in `params_ema`\nleft over    1 time num_batches_tracked"), "{text}");
    let alone = fails(path, &["build", "states.net", "--weights", "fill", "--key", "params", "--out", "crate"]);
    assert!(alone.contains("`--key` is for a file that `--weights` names"), "{alone}");
}

#[test]
fn tensors_that_are_not_read_and_bytes_behind_the_last_are_told() {
    let folder = folder();
    let path = folder.path();
    let whole = weights(|_| true, |_, shape| shape);
    let length = u64::from_le_bytes(whole[..8].try_into().expect("eight bytes")) as usize;
    let header = String::from_utf8(whole[8..8 + length].to_vec()).expect("text");
    let file = |header: &str| {
        [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &whole[8 + length..], &[7; 16]].concat()
    };
    // One that the network does not read is of a type that kiln does not read.
    let end = whole.len() - 8 - length;
    let more = format!("{{\"scale\":{{\"dtype\":\"F8_E8M0\",\"shape\":[4],\"data_offsets\":[{end},{}]}},", end + 4);
    fs::write(path.join("w.safetensors"), file(&header.replacen('{', &more, 1))).expect("a file");
    let text = succeeds(path, &["weights", "small.net", "w.safetensors"]);
    assert_eq!(text, "9 tensors match\nleft over    scale\nleft over    12 bytes behind the last tensor\n");
    fs::write(path.join("plain.safetensors"), &whole).expect("a file");
    let run = |file| succeeds(path, &["run", "small.net", "--input", "fill", "--engine", "interp", "--weights", file]);
    assert_eq!(run("w.safetensors"), run("plain.safetensors"));
    // One that it does read.
    let read = "\"norm.bias\":{\"dtype\":\"F32\"";
    assert!(header.contains(read), "{header}");
    fs::write(path.join("w.safetensors"), file(&header.replace(read, &read.replace("F32", "C64")))).expect("a file");
    let message = fails(path, &["build", "small.net", "--weights", "w.safetensors", "--out", "crate"]);
    assert!(message.contains("tensor `norm.bias` has elements of type C64, which kiln does not read"), "{message}");
    let message = fails(path, &["weights", "small.net", "w.safetensors"]);
    assert!(message.contains("tensors of `small.net`: 1 is not read"), "{message}");
}
