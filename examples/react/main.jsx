// A photo's classes in React: `npm install react react-dom xception-webgpu`, and Vite as it is.
import { StrictMode, Suspense, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { useClassification, useSuspendedXception, useXception } from 'xception-webgpu/react';

const weights = '/models/kitchenware.safetensors';

function Classifier() {
  const { model, progress, error } = useXception({ weights });
  const [photo, setPhoto] = useState();
  const { predictions, error: bad } = useClassification(model, photo, { topK: 3 });
  if (error) return <p role="alert">{error.message}</p>;
  return (
    <>
      <input type="file" accept="image/*" onChange={({ target }) => setPhoto(target.files[0])} />
      <p id="answer">{model ? (bad?.message ?? predictions?.map(({ label }) => label).join(', ') ?? 'Choose a photo.') : `${progress?.loaded ?? 0} bytes`}</p>
    </>
  );
}

/** The same model: it is loaded once. */
function Facts() {
  const { info } = useSuspendedXception({ weights });
  return <p id="facts">{info.labels.length} classes</p>;
}

function App() {
  const [isOpen, setOpen] = useState(true);
  return (
    <>
      <button type="button" onClick={() => setOpen(!isOpen)}>
        {isOpen ? 'Close' : 'Open'}
      </button>
      {isOpen && (
        <Suspense fallback={<p>Loading…</p>}>
          <Facts />
          <Classifier />
        </Suspense>
      )}
    </>
  );
}

createRoot(document.getElementById('root')).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
