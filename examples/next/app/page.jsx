// A server component: its HTML has the classifier's first render, before any model.
import { Classifier } from './classifier.jsx';

export default function Page() {
  return (
    <main>
      <h1>What is this?</h1>
      <Classifier weights="/model.safetensors" />
    </main>
  );
}
