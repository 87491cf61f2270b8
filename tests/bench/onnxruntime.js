// ONNX Runtime's side of `make bench-peers`: see peers.py, which starts it and talks to it.
//
// Usage: node onnxruntime.js MODULE MODEL INPUT THREADS DIMENSIONS...
// MODULE is the folder of the package onnxruntime-node, INPUT a file of float32 of the given dimensions.
// Prints "ready VERSION"; then answers, one line each: "measure MS" with the images a second of a
// round that lasts at least as long, after one to warm up, and "embed FILE" by writing the outputs there, one
// after the other.
'use strict';

const fs = require('fs');
const readline = require('readline');

const [modulePath, modelPath, inputPath, threads, ...dimensions] = process.argv.slice(2);
const ort = require(modulePath);

async function runRound(session, feeds, milliseconds) {
    const start = process.hrtime.bigint();
    let elapsed = 0;
    let images = 0;
    do {
        await session.run(feeds);
        images += feeds.input.dims[0];
        elapsed = Number(process.hrtime.bigint() - start) / 1e9;
    } while (elapsed < milliseconds / 1e3);
    return images / elapsed;
}

async function main() {
    const session = await ort.InferenceSession.create(modelPath, {
        executionProviders: ['cpu'],
        graphOptimizationLevel: 'all',
        executionMode: 'sequential',
        intraOpNumThreads: Number(threads),
        interOpNumThreads: 1,
        // Threads spin for work within a run, which is faster, but not between runs.
        extra: {session: {force_spinning_stop: '1'}},
    });
    const bytes = fs.readFileSync(inputPath);
    const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    const feeds = {input: new ort.Tensor('float32', values, dimensions.map(Number))};
    console.log(`ready ${ort.env.versions.node}`);
    for await (const line of readline.createInterface({input: process.stdin})) {
        const [command, argument] = line.split(' ');
        if (command === 'measure') {
            await runRound(session, feeds, Number(argument));
            console.log(await runRound(session, feeds, Number(argument)));
        } else {
            const outputs = await session.run(feeds);
            const parts = session.outputNames.map((name) => outputs[name].data)
                .map((data) => Buffer.from(data.buffer, data.byteOffset, data.byteLength));
            fs.writeFileSync(argument, Buffer.concat(parts));
            console.log('done');
        }
    }
}

main().catch((error) => {
    console.error(`onnxruntime.js: ${error.message}`);
    process.exit(1);
});
