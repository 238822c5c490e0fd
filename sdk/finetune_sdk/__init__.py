"""What all parts of the Finetune Operator share: the API of `FinetuneRun`, storage, errors and `finetune` itself."""
