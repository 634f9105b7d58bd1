//! ONNX models: the fields of `onnx.proto` that say where weights are.
//!
//! A model is a message of protobuf: a version, a graph, and in that tensors with their shape and
//! data. Weights are passed over, never read: what is checked is that every field ends within the
//! file, that data has the bytes that its shape takes, and that data outside the file is there.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Component, Path};

/// Longest text that is read, in bytes: names of files.
const TEXT_MAX: u64 = 4096;
/// More dimensions no tensor has.
const DIMENSIONS_MAX: usize = 64;

/// Fields of `ModelProto`, `GraphProto`, `TensorProto` and `StringStringEntryProto`.
const MODEL_VERSION: u64 = 1;
const MODEL_GRAPH: u64 = 7;
const MODEL_OPERATORS: u64 = 8;
const GRAPH_WEIGHTS: u64 = 5;
const TENSOR_DIMENSIONS: u64 = 1;
const TENSOR_TYPE: u64 = 2;
const TENSOR_RAW: u64 = 9;
const TENSOR_OUTSIDE: u64 = 13;
const ENTRY_KEY: u64 = 1;
const ENTRY_VALUE: u64 = 2;

/// Whether a file has the structure of a model, and its data outside is there.
pub(super) fn check(path: &Path) -> Result<(), String> {
    let (file, len) = super::open(path)?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut message = Message { file: &mut BufReader::new(file), at: 0, end: len };
    let (mut version, mut graph, mut operators) = (false, false, false);
    while let Some(field) = message.next()? {
        match field {
            (MODEL_VERSION, Value::Number(_)) => version = true,
            (MODEL_GRAPH, Value::Bytes(len)) => {
                graph = true;
                message.inner(len, |inner| check_graph(inner, folder))?;
            }
            (MODEL_OPERATORS, Value::Bytes(len)) => {
                operators = true;
                message.skip(len)?;
            }
            (_, value) => message.pass(value)?,
        }
    }
    match (version, graph, operators) {
        (true, true, true) => Ok(()),
        _ => Err("it has no version, graph or operators, so it is no ONNX model".into()),
    }
}

fn check_graph(graph: &mut Message<'_>, folder: &Path) -> Result<(), String> {
    while let Some(field) = graph.next()? {
        match field {
            (GRAPH_WEIGHTS, Value::Bytes(len)) => {
                graph.inner(len, |inner| check_tensor(inner, folder))?;
            }
            (_, value) => graph.pass(value)?,
        }
    }
    Ok(())
}

fn check_tensor(tensor: &mut Message<'_>, folder: &Path) -> Result<(), String> {
    let (mut dimensions, mut kind, mut raw) = (Vec::new(), 0, None);
    let mut outside = Outside::default();
    while let Some(field) = tensor.next()? {
        match field {
            (TENSOR_DIMENSIONS, Value::Number(dimension)) => dimensions.push(dimension),
            (TENSOR_DIMENSIONS, Value::Bytes(len)) => tensor.inner(len, |packed| {
                while packed.at < packed.end && dimensions.len() <= DIMENSIONS_MAX {
                    dimensions.push(packed.varint()?);
                }
                Ok(())
            })?,
            (TENSOR_TYPE, Value::Number(number)) => kind = number,
            (TENSOR_RAW, Value::Bytes(len)) => {
                raw = Some(len);
                tensor.skip(len)?;
            }
            (TENSOR_OUTSIDE, Value::Bytes(len)) => tensor.inner(len, |it| outside.read(it))?,
            (_, value) => tensor.pass(value)?,
        }
        if dimensions.len() > DIMENSIONS_MAX {
            return Err("a tensor has too many dimensions".into());
        }
    }
    let count = dimensions.iter().try_fold(1_u64, |all, each| all.checked_mul(*each));
    let count = count.ok_or("a tensor has more elements than there can be")?;
    if let (Some(raw), Some(size)) = (raw, size_of(kind))
        && count.checked_mul(size) != Some(raw)
    {
        return Err(format!("a tensor of {count} elements of {size} bytes has {raw} bytes"));
    }
    outside.check(folder)
}

/// Bytes of an element of `TensorProto.DataType`, where that is a number of whole bytes.
const fn size_of(kind: u64) -> Option<u64> {
    Some(match kind {
        2 | 3 | 9 | 17..=20 => 1,
        4 | 5 | 10 | 16 => 2,
        1 | 6 | 12 => 4,
        7 | 11 | 13 | 14 => 8,
        15 => 16,
        _ => return None,
    })
}

/// Where data of a tensor is that is not in the model.
#[derive(Debug, Default)]
struct Outside {
    location: Option<String>,
    offset: u64,
    length: u64,
}

impl Outside {
    fn read(&mut self, entry: &mut Message<'_>) -> Result<(), String> {
        let (mut key, mut value) = (String::new(), String::new());
        while let Some(field) = entry.next()? {
            match field {
                (ENTRY_KEY, Value::Bytes(len)) => key = entry.text(len)?,
                (ENTRY_VALUE, Value::Bytes(len)) => value = entry.text(len)?,
                (_, other) => entry.pass(other)?,
            }
        }
        let number = || value.parse().map_err(|_| format!("its {key} of data is \"{value}\""));
        match key.as_str() {
            "offset" => self.offset = number()?,
            "length" => self.length = number()?,
            "location" => self.location = Some(value),
            _ => {}
        }
        Ok(())
    }

    /// Whether the file beside the model has the data.
    fn check(&self, folder: &Path) -> Result<(), String> {
        let Some(location) = &self.location else { return Ok(()) };
        let is_plain = Path::new(location)
            .components()
            .all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !is_plain {
            return Err(format!("its data is said to be in \"{location}\""));
        }
        let path = folder.join(location);
        let len = path.metadata().map_err(|err| format!("its data {}: {err}", path.display()))?;
        let end = self.offset.checked_add(self.length);
        match end.is_some_and(|end| end <= len.len()) {
            true => Ok(()),
            false => Err(format!("its data goes beyond {}", path.display())),
        }
    }
}

/// What a field has.
#[derive(Debug, Clone, Copy)]
enum Value {
    Number(u64),
    /// Eight or four bytes.
    Fixed(u64),
    /// So many bytes follow.
    Bytes(u64),
}

/// A message between two places of a file; never reads beyond its end.
struct Message<'f> {
    file: &'f mut BufReader<File>,
    at: u64,
    end: u64,
}

impl Message<'_> {
    /// Number and value of the next field. Bytes are left for who asked to pass over or to read.
    fn next(&mut self) -> Result<Option<(u64, Value)>, String> {
        if self.at >= self.end {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => Value::Fixed(8),
            2 => Value::Bytes(self.varint()?),
            5 => Value::Fixed(4),
            kind => return Err(format!("at {}: there is no kind of field {kind}", self.at)),
        };
        match tag >> 3 {
            0 => Err(format!("at {}: there is no field 0", self.at)),
            field => Ok(Some((field, value))),
        }
    }

    fn varint(&mut self) -> Result<u64, String> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            self.room(1)?;
            let mut byte = [0];
            self.file.read_exact(&mut byte).map_err(super::text)?;
            self.at += 1;
            let [byte] = byte;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(format!("at {}: a number does not end", self.at))
    }

    fn room(&self, len: u64) -> Result<(), String> {
        match self.at.checked_add(len).is_some_and(|end| end <= self.end) {
            true => Ok(()),
            false => Err(format!("at {}: a field goes beyond its end", self.at)),
        }
    }

    fn pass(&mut self, value: Value) -> Result<(), String> {
        match value {
            Value::Number(_) => Ok(()),
            Value::Fixed(len) | Value::Bytes(len) => self.skip(len),
        }
    }

    fn skip(&mut self, len: u64) -> Result<(), String> {
        self.room(len)?;
        self.at += len;
        match i64::try_from(len) {
            Ok(len) => self.file.seek_relative(len).map_err(super::text),
            Err(_) => self.file.seek(SeekFrom::Start(self.at)).map(drop).map_err(super::text),
        }
    }

    /// Reads a field that is a message itself, all of it.
    fn inner(
        &mut self,
        len: u64,
        read: impl FnOnce(&mut Message<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.room(len)?;
        let end = self.at + len;
        let mut inner = Message { file: &mut *self.file, at: self.at, end };
        read(&mut inner)?;
        let rest = end - inner.at;
        inner.skip(rest)?;
        self.at = end;
        Ok(())
    }

    fn text(&mut self, len: u64) -> Result<String, String> {
        self.room(len)?;
        if len > TEXT_MAX {
            return Err(format!("at {}: a text has {len} bytes", self.at));
        }
        let mut bytes = Vec::new();
        self.file.by_ref().take(len).read_to_end(&mut bytes).map_err(super::text)?;
        self.at += bytes.len() as u64;
        String::from_utf8(bytes).map_err(super::text)
    }
}
