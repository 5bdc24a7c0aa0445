// Accounts of the program metadata program as its own client writes them, each with its
// address and what the client reads of them. One JSON object a line.
// usage: node encode.cjs <program> <file of the IDL>
const fs = require('fs');
const metadata = require('@solana-program/program-metadata');
const { Compression, DataSource, Encoding, Format } = metadata;

const [program, file] = process.argv.slice(2);
const content = fs.readFileSync(file, 'utf8');
const url = { url: 'https://example.org/idl.json' };
const external = { address: program, offset: 44, length: 9 };

const cases = [];
for (const compression of [Compression.None, Compression.Gzip, Compression.Zlib]) {
  cases.push([Format.Json, metadata.packDirectData({ content, compression })]);
}
cases.push([Format.None, metadata.packDirectData({ content })]);
cases.push([Format.Yaml, metadata.packDirectData({ content: 'name: yaml' })]);
cases.push([Format.Json, metadata.packUrlData(url)]);
const plain = { encoding: Encoding.None, compression: Compression.None };
cases.push([Format.Json, { ...metadata.packExternalData(external), ...plain }]);
const base64 = { content: Buffer.from(content).toString('base64'), encoding: Encoding.Base64 };
cases.push([Format.Json, metadata.packDirectData(base64)]);

(async () => {
  const [address] = await metadata.findCanonicalPda({ program, seed: 'idl' });
  for (const [format, packed] of cases) {
    const data = metadata.getMetadataEncoder().encode({
      program, authority: null, mutable: true, canonical: true, seed: 'idl', format,
      ...packed, dataLength: packed.data.length,
    });
    console.log(JSON.stringify({
      address,
      owner: metadata.PROGRAM_METADATA_PROGRAM_ADDRESS,
      data: Buffer.from(data).toString('base64'),
      source: DataSource[packed.dataSource],
      format: Format[format],
      encoding: Encoding[packed.encoding],
      compression: Compression[packed.compression],
    }));
  }
})();
