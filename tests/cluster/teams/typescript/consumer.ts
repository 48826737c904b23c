// A program in TypeScript that serves a model through the plugin: `node consumer.js preview|up|destroy FOLDER ARGUMENTS`.
// It runs in this very process, by Pulumi's Automation API: that needs no language host for Node.
import * as pulumi from "@pulumi/pulumi";
import { LocalWorkspace } from "@pulumi/pulumi/automation";

// What `pulumi package add` would write, as far as it is used here.
class ModelService extends pulumi.ComponentResource {
    declare public readonly predictUrl: pulumi.Output<string>;

    constructor(name: string, args: pulumi.Inputs, opts?: pulumi.ComponentResourceOptions) {
        super("modelops:index:ModelService", name, { ...args, predictUrl: undefined }, opts, true);
    }
}

async function main(): Promise<void> {
    const [command, folder, given] = process.argv.slice(2);
    const program = async () => ({ predict_url: new ModelService("typed", JSON.parse(given)).predictUrl });
    const stack = await LocalWorkspace.createOrSelectStack(
        { stackName: "test", projectName: "consumer", program },
        { workDir: folder },
    );
    const say = { onOutput: (text: string) => process.stderr.write(text), color: "never" as const };
    if (command === "preview") {
        console.log(JSON.stringify((await stack.preview(say)).changeSummary));
    } else if (command === "up") {
        console.log(JSON.stringify((await stack.up(say)).outputs));
    } else {
        await stack.destroy(say);
    }
}

main().catch((error) => {
    console.error(String(error));
    process.exit(1);
});
