// SPDX-License-Identifier: MPL-2.0
// Descriptions by files in a directory, as `signaller=file` of the elements does it.
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** A directory where both ends of one call meet. It is new for each call, so nothing is removed here. */
export class Meeting {
  constructor(folder) {
    this.folder = folder;
    mkdirSync(folder, { recursive: true });
  }

  #path(kind) {
    return join(this.folder, `${kind}.json`);
  }

  #put(kind, message) {
    const part = join(this.folder, `.${kind}-${process.pid}.tmp`);
    writeFileSync(part, JSON.stringify(message));
    renameSync(part, this.#path(kind));
  }

  async #wait(kind) {
    while (!existsSync(this.#path(kind))) await pause(20);
  }

  async write(type, sdp) {
    this.#put(type, { sdp, type });
  }

  /** The SDP of `offer` or `answer`, once it is there. */
  async read(type) {
    await this.#wait(type);
    return JSON.parse(readFileSync(this.#path(type), 'utf8')).sdp;
  }

  async bye() {
    this.#put('bye', { type: 'bye' });
  }

  async awaitBye() {
    await this.#wait('bye');
  }
}
